"""What is said on a control socket, without any socket."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.control import protocol
from transports.control.protocol import BadRequest, Lines

REQUESTS = [
    protocol.About(),
    protocol.Tree(1.5, True, 7),
    protocol.Tell("actor://a/b", "Put", msgspec.Raw(b'{"n":1}')),
    protocol.Ask("actor://a/b", "Get", timeout=3.0),
    protocol.Publish("orders.placed", "Order", msgspec.Raw(b"{}")),
    protocol.Listen("orders.*"),
    protocol.DeadLetters(5, True),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: type(each).__name__)
def test_a_request_that_is_encoded_is_decoded_to_the_same(request_: protocol.Request) -> None:
    line = protocol.encode_request(request_)
    assert line.count(b"\n") == 1
    again = protocol.decode_request(line[:-1])
    assert protocol.encode_request(again) == line


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"", "no request: Input data was truncated"),
        (b"nonsense", "no request: "),
        (b"[]", "no request: Expected `object`, got `array`"),
        (b"{}", "no request: Object missing required field `do`"),
        (b'{"do":"explode"}', "no request: do: Invalid value 'explode'"),
        (b'{"do":"tell","to":7,"name":"a"}', "no request: to: Expected `str`, got `int`"),
        (b'{"do":"tell","to":"a"}', "no request: Object missing required field `name`"),
        (b'{"do":"tree","deep":1}', "no request: Object contains unknown field `deep`"),
        (b'{"do":"tree","most":0}', "no request: most: Expected `int` >= 1"),
        (b'{"do":"ask","to":"a","name":"b","timeout":1e9}', "no request: timeout: Expected"),
        (b'{"do":"ask","to":"a","name":"b","timeout":NaN}', "no request: "),
        (b'{"do":"\xff"}', "no request: "),
        (b"[" * 100_000, "no request: "),
    ],
)
def test_a_line_that_is_no_request_says_which_field_is_wrong(line: bytes, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        protocol.decode_request(line)
    assert str(caught.value).startswith(text)


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_request_or_is_refused(line: bytes) -> None:
    try:
        protocol.decode_request(line)
    except BadRequest:
        pass
    try:
        protocol.decode_reply(line)
    except BadRequest:
        pass


def test_the_lines_of_an_answer_say_what_they_are() -> None:
    item = protocol.decode_reply(protocol.item({"a": 1}))
    assert json.loads(bytes(item.item)) == {"a": 1}
    assert json.loads(bytes(protocol.decode_reply(protocol.end()).end)) is None
    fault = protocol.decode_reply(protocol.error(protocol.Code.TIMEOUT, "too late")).error
    assert fault == protocol.Fault("timeout", "too late")


@pytest.mark.parametrize("line", [b"{}", b'{"item":1,"end":2}', b'{"error":7}', b"x"])
def test_a_line_that_is_no_answer_is_refused(line: bytes) -> None:
    with pytest.raises(BadRequest):
        protocol.decode_reply(line)


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30), st.data())
def test_however_a_stream_is_cut_the_lines_are_the_same_and_held_bytes_bounded(
    pieces: list[bytes], most: int, data: st.DataObject
) -> None:
    stream = b"\n".join(pieces) + b"\n"
    whole = [line if len(line) <= most else None for line in stream.split(b"\n")[:-1]]
    lines = Lines(most)
    found: list[bytes | None] = []
    while stream:
        size = data.draw(st.integers(1, 50))
        found += lines.feed(stream[:size])
        assert lines.buffered <= most
        stream = stream[size:]
    assert found == whole


def test_a_line_without_an_end_is_refused_as_soon_as_it_is_too_long() -> None:
    lines = Lines(10)
    assert lines.feed(b"12345") == []
    assert lines.feed(b"678901") == [None]
    assert lines.feed(b"2345" * 1000) == []
    assert lines.buffered == 0
    assert lines.feed(b"6\nnext\n") == [b"next"]


def test_a_limit_below_one_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        Lines(0)
