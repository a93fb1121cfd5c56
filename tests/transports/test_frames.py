"""The frames of a link: the bytes of the specification, and an error for all others."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transports import fuzz
from transports.errors import DecodeError
from transports.wire import frames
from transports.wire.frames import Ack, Hello, Reason, Refuse

NUMBERS = st.integers(0, 2**64 - 1)
HELLO = Hello("near", 7, 1, 9, 2, 300, 1024, 1 << 24, 1 << 26)
NEW = Hello("near", 7, 1, 0, 0, 0, 1024, 1 << 24, 1 << 26)


def ranges_above(accepted: int, steps: list[tuple[int, int]]) -> Ack:
    """An ACK with ranges `steps` of (missing, accepted) above `accepted`."""
    ranges, end = [], accepted
    for gap, length in steps:
        ranges.append((end + gap + 1, end + gap + length))
        end += gap + length
    return Ack(False, end + 3, accepted, tuple(ranges))


STEP = st.tuples(st.integers(1, 1000), st.integers(1, 1000))
ACKS = st.builds(ranges_above, st.integers(0, 2**60), st.lists(STEP, max_size=frames.MOST_RANGES))
HELLOS = st.builds(
    Hello,
    st.sampled_from(["near", "a-b.c", "ö" * 127]),
    st.integers(1, 2**64 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(1, 2**64 - 1),
    NUMBERS,
    st.integers(1, frames.MOST_WINDOW),
    st.integers(frames.LEAST_FRAME, 2**32 - 1),
    st.integers(1, 2**32 - 1),
)


@given(HELLOS)
def test_a_hello_is_decoded_as_it_was_encoded(hello: Hello) -> None:
    assert frames.decode_hello(frames.encode_hello(hello)) == hello


@given(ACKS, st.booleans())
def test_an_ack_is_decoded_as_it_was_encoded(ack: Ack, resend: bool) -> None:
    ack = attrs.evolve(ack, resend=resend)
    frame = frames.encode_ack(ack)
    assert frames.decode_ack(frame) == ack
    assert len(frame) <= frames.LEAST_FRAME


@given(st.sampled_from(Reason), st.text(max_size=300))
def test_a_refuse_keeps_its_reason_and_what_fits_of_its_text(reason: Reason, text: str) -> None:
    got = frames.decode_refuse(frames.encode_refuse(Refuse(reason, text)))
    assert got.reason is reason
    assert text.startswith(got.text)
    assert got.text == text or len(got.text.encode()) > 250


@given(NUMBERS)
def test_a_number_is_decoded_as_it_was_encoded(number: int) -> None:
    assert frames.decode_number(frames.encode_number(frames.PING, number)) == number


@pytest.mark.parametrize(
    ("encoded", "wanted"),
    [
        (
            frames.encode_hello(HELLO),
            "01 54525052 0001 0000000000000007 0000000000000001 0000000000000009"
            "0000000000000002 000000000000012c 00000400 01000000 04000000 04 6e656172",
        ),
        (frames.encode_welcome(), "02"),
        (frames.encode_refuse(Refuse(Reason.FENCED, "no")), "03 06 6e6f"),
        (
            frames.encode_ack(Ack(True, 9, 4, ((6, 7), (9, 9)))),
            "05 01 0000000000000009 0000000000000004 02"
            "0000000000000006 0000000000000007 0000000000000009 0000000000000009",
        ),
        (frames.encode_number(frames.PING, 1), "06 0000000000000001"),
        (frames.encode_number(frames.PONG, 1), "07 0000000000000001"),
        (frames.encode_number(frames.CLOSE, 258), "08 0000000000000102"),
    ],
)
def test_the_bytes_are_those_of_the_specification(encoded: bytes, wanted: str) -> None:
    assert encoded == bytes.fromhex(wanted)


def number(value: int) -> bytes:
    return value.to_bytes(8)


def ack(received: int, accepted: int, *ranges: tuple[int, int], resend: int = 0) -> bytes:
    head = bytes([frames.ACK, resend]) + number(received) + number(accepted) + bytes([len(ranges)])
    return head + b"".join(number(first) + number(last) for first, last in ranges)


GOOD = frames.encode_hello(HELLO)


@pytest.mark.parametrize(
    ("decode", "frame", "why"),
    [
        (frames.kind, b"", "without a kind"),
        (frames.kind, b"\x00", "of kind 0"),
        (frames.kind, b"\x09", "of kind 9"),
        (frames.decode_hello, GOOD[:6], "ends within its magic and version"),
        (frames.decode_hello, GOOD[:3] + b"!" + GOOD[4:], "of another protocol or version"),
        (frames.decode_hello, GOOD[:6] + b"\x02" + GOOD[7:], "of another protocol or version"),
        (frames.decode_hello, GOOD[:30], "a HELLO of 30 bytes ends within its header"),
        (frames.decode_hello, GOOD[:-1], "3 bytes for a name of 4"),
        (frames.decode_hello, GOOD + b"x", "5 bytes for a name of 4"),
        (frames.decode_hello, GOOD[:-1] + b"\xff", "utf-8"),
        (frames.decode_hello, GOOD[:-1] + b"/", "letters, digits"),
        (frames.decode_hello, GOOD[:-5] + b"\x00", "letters, digits"),
        (frames.decode_hello, GOOD[:7] + number(0) + GOOD[15:], "incarnation: an int from 1"),
        (frames.decode_hello, GOOD[:15] + number(0) + GOOD[23:], "session: an int from 1"),
        (frames.decode_hello, GOOD[:23] + number(0) + GOOD[31:], "both 0, or neither"),
        (frames.decode_hello, GOOD[:31] + number(0) + GOOD[39:], "both 0, or neither"),
        (frames.decode_hello, GOOD[:23] + bytes(16) + GOOD[39:], "received: 0 of no session"),
        (frames.decode_hello, GOOD[:47] + bytes(4) + GOOD[51:], "window: an int from 1"),
        (frames.decode_hello, GOOD[:47] + b"\xff" * 4 + GOOD[51:], "window: an int from 1"),
        (frames.decode_hello, GOOD[:51] + bytes(4) + GOOD[55:], "max_frame: an int from 2048"),
        (frames.decode_welcome, b"\x02\x00", "a WELCOME of 2 bytes"),
        (frames.decode_refuse, b"\x03", "a REFUSE of 1 bytes"),
        (frames.decode_refuse, b"\x03\x01" + b"x" * 256, "a REFUSE of 258 bytes"),
        (frames.decode_refuse, b"\x03\x00", "0 is not a valid Reason"),
        (frames.decode_refuse, b"\x03\x01\xff", "utf-8"),
        (frames.decode_data, b"\x04\x00" + number(1)[:-1], "ends within its header"),
        (frames.decode_data, b"\x04\x00" + number(0), "sequence 0"),
        (frames.decode_data, b"\x04\x02" + number(1), "charged 2"),
        (frames.decode_ack, ack(1, 1)[:-1], "ends within its header"),
        (frames.decode_ack, ack(1, 1) + b"x", "for 0 ranges"),
        (frames.decode_ack, ack(9, 1, (3, 4))[:-1], "for 1 ranges"),
        (frames.decode_ack, ack(999, 0, *((n, n) for n in range(2, 132, 2))), "for 65 ranges"),
        (frames.decode_ack, ack(1, 1, resend=2), "resend 2"),
        (frames.decode_ack, ack(1, 2), "2 accepted of 1 received"),
        (frames.decode_ack, ack(9, 2, (3, 4)), "the range from 3 to 4"),
        (frames.decode_ack, ack(9, 2, (5, 4)), "the range from 5 to 4"),
        (frames.decode_ack, ack(9, 2, (5, 10)), "the range from 5 to 10"),
        (frames.decode_ack, ack(9, 2, (4, 5), (6, 7)), "the range from 6 to 7"),
        (frames.decode_ack, ack(9, 2, (6, 7), (4, 4)), "the range from 4 to 4"),
        (frames.decode_number, b"\x06" + number(1)[1:], "of 8 bytes"),
        (frames.decode_number, b"\x06" + number(1) + b"x", "of 10 bytes"),
    ],
)
def test_each_malformed_frame_is_an_error_that_says_why(
    decode: Any, frame: bytes, why: str
) -> None:
    with pytest.raises(DecodeError) as raised:
        decode(frame)
    assert why in raised.value.why


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node", ""),
        ("node", "a/b"),
        ("node", "ö" * 128),
        ("incarnation", 0),
        ("incarnation", 2**64),
        ("session", True),
        ("peer_incarnation", -1),
        ("peer_session", 3),
        ("received", 1),
        ("window", 0),
        ("window", frames.MOST_WINDOW + 1),
        ("max_frame", frames.LEAST_FRAME - 1),
        ("window_bytes", 0),
        ("window_bytes", 2**32),
    ],
)
def test_a_hello_that_makes_no_sense_cannot_be_made(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        attrs.evolve(NEW, **{field: value})


@given(st.binary(max_size=120))
def test_arbitrary_bytes_are_decoded_or_an_error(data: bytes) -> None:
    fuzz.each(data)


@given(st.integers(0, 255), st.binary(max_size=200))
def test_arbitrary_bytes_behind_each_kind_are_decoded_or_an_error(first: int, rest: bytes) -> None:
    fuzz.each(bytes([first % 10]) + rest)


@pytest.mark.parametrize("frame", fuzz.CORPUS, ids=lambda frame: frame[:4].hex())
@given(data=st.data())
def test_valid_frames_with_changed_bytes_are_decoded_or_an_error(
    frame: bytes, data: st.DataObject
) -> None:
    changed = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    fuzz.each(bytes(changed[: data.draw(st.integers(0, len(frame)))]))
    fuzz.each(bytes(changed))


def test_the_corpus_reaches_every_kind_of_frame() -> None:
    kinds = {frame[0] for frame in fuzz.CORPUS}
    assert kinds >= set(range(frames.HELLO, frames.CLOSE + 1))
