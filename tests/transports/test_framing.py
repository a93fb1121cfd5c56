"""Frames: whatever pieces the stream comes in, and whatever is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.errors import DecodeError
from transports.wire.framing import HEADER, FrameDecoder, encode_frame

PAYLOADS = st.lists(st.binary(max_size=50), max_size=6)


@given(PAYLOADS, st.lists(st.integers(1, 20), min_size=1, max_size=30))
def test_what_is_encoded_is_decoded_in_whatever_pieces(
    payloads: list[bytes], sizes: list[int]
) -> None:
    stream = b"".join(map(encode_frame, payloads))
    decoder, got, place, turn = FrameDecoder(), [], 0, 0
    while place < len(stream):
        size = sizes[turn % len(sizes)]
        got += decoder.feed(stream[place : place + size])
        place, turn = place + size, turn + 1
    assert got == payloads
    assert decoder.buffered == 0


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_flipped_bit_never_reaches_anybody(payload: bytes, data: st.DataObject) -> None:
    stream = bytearray(encode_frame(payload) + encode_frame(b"behind"))
    bit = data.draw(st.integers(0, 8 * (HEADER.size + len(payload)) - 1))
    stream[bit // 8] ^= 1 << bit % 8
    decoder = FrameDecoder(max_frame=100)
    with pytest.raises(DecodeError, match="checksum"):
        decoder.feed(bytes(stream))
    with pytest.raises(DecodeError):
        decoder.feed(b"more")


def test_a_flipped_bit_in_a_length_is_found_before_the_rest_is_waited_for() -> None:
    stream = bytearray(encode_frame(b"x"))
    stream[1] ^= 1
    with pytest.raises(DecodeError, match="frame's length"):
        FrameDecoder().feed(bytes(stream[: HEADER.size]))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_frames_or_an_error_and_memory_is_bounded(noise: bytes) -> None:
    decoder = FrameDecoder(max_frame=64)
    try:
        for byte in noise:
            decoder.feed(bytes([byte]))
            assert decoder.buffered <= 64 + HEADER.size
    except DecodeError:
        assert decoder.buffered == 0


def test_a_frame_that_is_too_large_is_refused_by_its_header() -> None:
    decoder = FrameDecoder(max_frame=10)
    assert decoder.feed(encode_frame(b"x" * 10)) == [b"x" * 10]
    with pytest.raises(DecodeError, match="a frame of 11 bytes, of 10 allowed"):
        decoder.feed(encode_frame(b"x" * 11)[: HEADER.size])
    with pytest.raises(ValueError, match="max_frame"):
        FrameDecoder(0)


def test_the_bytes_are_those_of_the_specification() -> None:
    assert encode_frame(b"hi").hex() == "00000002cf4abe302b0c4d9e" + b"hi".hex()
