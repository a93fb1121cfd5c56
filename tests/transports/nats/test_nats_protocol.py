"""The protocol without I/O: pieces of any size, bytes of any kind, and the states."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.errors import WrongState
from transports.nats import protocol
from transports.nats.errors import (
    AuthorizationViolation,
    InvalidHeader,
    PermissionsViolation,
    ProtocolFault,
    Refused,
    ServerError,
    ServerTooOld,
)
from transports.nats.handshake import TABLE, Event, Handshake, State, server_error
from transports.nats.headers import Headers, decode_headers, encode_headers
from transports.nats.info import ServerInfo, decode_info
from transports.nats.protocol import Error, Info, Message, Okay, Parser, Ping, Pong

HEADERS = b"NATS/1.0\r\nA: 1\r\nb: two words\r\n\r\n"
STREAM = b"".join(
    [
        b'INFO {"version":"2.11.0","headers":true,"max_payload":1048576}\r\n',
        b"PING\r\n",
        b"PONG\r\n",
        b"+OK\r\n",
        b"-ERR 'Stale Connection'\r\n",
        b"MSG a.b 1 5\r\nhe\r\no\r\n",
        b"MSG a.b 2 reply.to 0\r\n\r\n",
        b"HMSG a 3 %d %d\r\n%bpay\r\n" % (len(HEADERS), len(HEADERS) + 3, HEADERS),
        b"HMSG a 3 r.s 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
        b"PING\r\n",
    ]
)


def told(event: protocol.Event) -> object:
    if isinstance(event, Message):
        return (
            event.subject,
            event.data,
            event.reply,
            dict(event.headers),
            event.sid,
            event.status,
        )
    return event


WHOLE = [told(each) for each in Parser().feed(STREAM)]


def test_a_stream_of_everything_that_a_server_says() -> None:
    expected = [
        Info(ServerInfo(version="2.11.0", headers=True)),
        Ping(),
        Pong(),
        Okay(),
        Error("Stale Connection"),
        ("a.b", b"he\r\no", "", {}, 1, 0),
        ("a.b", b"", "reply.to", {}, 2, 0),
        ("a", b"pay", "", {"A": "1", "b": "two words"}, 3, 0),
        ("a", b"", "r.s", {}, 3, 503),
        Ping(),
    ]
    assert expected == WHOLE


def test_it_may_be_split_at_every_byte() -> None:
    for place in range(len(STREAM) + 1):
        parser = Parser()
        events = parser.feed(STREAM[:place]) + parser.feed(STREAM[place:])
        assert [told(each) for each in events] == WHOLE
        assert parser.buffered == 0


@given(st.lists(st.integers(0, len(STREAM))))
def test_it_may_come_in_any_pieces(places: list[int]) -> None:
    parser = Parser()
    events = []
    cuts = [0, *sorted(places), len(STREAM)]
    for start, end in pairwise(cuts):
        events += parser.feed(STREAM[start:end])
    assert [told(each) for each in events] == WHOLE


WORDS = (
    b"MSG HMSG INFO PING +OK -ERR a.b 1 5 12 {} NATS/1.0 99999999999999999999 \xff \x00 [ "
    b'"max_payload":'
).split(b" ")
PARTS = st.sampled_from([*WORDS, b" ", b": ", b"\r\n"])


@given(st.lists(st.one_of(st.binary(max_size=40), st.lists(PARTS).map(b"".join))))
def test_bytes_of_any_kind_raise_nothing_but_a_fault_and_are_not_kept(pieces: list[bytes]) -> None:
    parser = Parser(max_payload=64, max_line=64)
    broken = False
    for piece in pieces:
        try:
            parser.feed(piece)
        except ProtocolFault:
            broken = True
        else:
            assert not broken
        # A line, a payload of 64 with its own end, and the piece itself at the very most.
        assert parser.buffered <= 64 + 2 + 64 + 2 + len(piece)


@pytest.mark.parametrize(
    "data",
    [
        b"MSG a 1\r\n",
        b"MSG a x 1\r\n1\r\n",
        b"MSG a 1 -1\r\n",
        b"MSG a 1 1_0\r\n",
        b"MSG a 1 99999999999999999999999999\r\n",
        b"MSG a 1 2 3 4 5\r\n",
        b"MSG a 1 3\r\nabcde\r\n",
        b"HMSG a 1 20 10\r\n1234567890\r\n",
        b"\r\n",
        b"SUB a 1\r\n",
        b"ping\r\n",
        b"INFO {\r\n",
        b"INFO []\r\n",
        b'INFO {"max_payload":-1}\r\n',
        b'INFO {"max_payload":"x"}\r\n',
        b"INFO " + b"[" * 5000 + b"\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"x" * 70_000,
    ],
)
def test_what_no_server_says_is_a_fault_and_stays_one(data: bytes) -> None:
    parser = Parser()
    with pytest.raises(ProtocolFault):
        parser.feed(data)
    with pytest.raises(ProtocolFault):
        parser.feed(b"PING\r\n")


@pytest.mark.parametrize("white", ["\t", "\x0b", "\x0c", "\x85", "\u2028"])
def test_white_space_that_a_publisher_has_put_into_its_subjects_is_a_part_of_them(
    white: str,
) -> None:
    subject, reply = f"a{white}b", f"r{white}s"
    line = f"MSG {subject} 1 {reply} 2\r\nxy\r\n".encode()
    assert [told(each) for each in Parser().feed(line)] == [(subject, b"xy", reply, {}, 1, 0)]


@pytest.mark.parametrize(
    "headers",
    [b"", b"NATS", b"NATS/1.0\r\nno colon\r\n\r\n", b"NATS/1.0 abc\r\n\r\n", b"\xff" * 20],
)
def test_headers_that_a_publisher_has_made_badly_are_none(headers: bytes) -> None:
    size = len(headers)
    line = b"HMSG a 1 %d %d\r\n%bxy\r\n" % (size, size + 2, headers)
    assert [told(each) for each in Parser().feed(line)] == [("a", b"xy", "", {}, 1, 0)]


def test_a_payload_beyond_the_limit_is_refused_by_its_first_line() -> None:
    with pytest.raises(ProtocolFault, match="65 bytes, of 64"):
        Parser(max_payload=64).feed(b"MSG a 1 65\r\n")


def test_a_large_message_in_many_pieces_is_put_together_once() -> None:
    parser = Parser()
    data = bytes(range(256)) * 4096
    whole = b"MSG a 1 %d\r\n%b\r\n" % (len(data), data)
    events = []
    for start in range(0, len(whole), 1000):
        events += parser.feed(whole[start : start + 1000])
    assert [told(each) for each in events] == [("a", data, "", {}, 1, 0)]


def test_commands_as_bytes() -> None:
    assert protocol.encode_publish(b"a", b"xy") == b"PUB a 2\r\nxy\r\n"
    assert protocol.encode_publish(b"a", b"xy", b"r") == b"PUB a r 2\r\nxy\r\n"
    assert protocol.encode_publish(b"a", b"xy", b"r", b"HHH") == b"HPUB a r 3 5\r\nHHHxy\r\n"
    assert protocol.encode_subscribe(b"a.*", 7) == b"SUB a.* 7\r\n"
    assert protocol.encode_subscribe(b"a.*", 7, b"q") == b"SUB a.* q 7\r\n"
    assert protocol.encode_unsubscribe(7) == b"UNSUB 7\r\n"
    # A name of two lines stays one.
    assert protocol.encode_connect({"name": "a\r\nPUB x"}) == b'CONNECT {"name":"a\\r\\nPUB x"}\r\n'


# -- headers

NAMES = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1
)
VALUES = st.text().filter(lambda each: each.strip() == each and not {"\r", "\n"} & {*each})


@given(st.dictionaries(NAMES, VALUES.filter(lambda v: v.isprintable())))
def test_headers_come_back_as_they_were(headers: dict[str, str]) -> None:
    decoded, status, _ = decode_headers(encode_headers(headers))
    assert status == 0
    for name, value in headers.items():
        assert value in decoded.all(name)


@given(st.dictionaries(st.text(), st.text()))
def test_no_header_begins_another_line(headers: dict[str, str]) -> None:
    try:
        data = encode_headers(headers)
    except InvalidHeader:
        return
    assert data.count(b"\n") == data.count(b"\r") == len(headers) + 2


def test_names_of_headers_are_compared_without_their_case() -> None:
    headers, status, description = decode_headers(
        b"NATS/1.0 404 No Messages\r\nNats-Msg-Id: 1\r\nNATS-MSG-ID: 2\r\n\r\n"
    )
    assert (status, description) == (404, "No Messages")
    assert headers["nats-msg-id"] == "1"
    assert headers.all("Nats-Msg-Id") == ["1", "2"]
    assert list(headers) == ["Nats-Msg-Id"]
    assert headers.get("other") is None
    assert Headers().all("x") == []


# -- states

INFO = Info(ServerInfo(version="2.11.3", headers=True, nonce="abc"))


def shake(**options: bool) -> Handshake:
    return Handshake("s:1", lambda info: {"nonce": info.nonce}, **options)


def test_a_handshake_says_connect_and_ping_and_waits_for_the_pong() -> None:
    handshake = shake()
    handshake.received(INFO)
    assert handshake.outgoing() == b'CONNECT {"nonce":"abc"}\r\nPING\r\n'
    assert handshake.is_new
    handshake.received(Okay())
    handshake.received(Pong())
    assert handshake.state is State.CONNECTED
    handshake.received(Ping())
    assert handshake.outgoing() == b"PONG\r\n"
    handshake.received(Info(ServerInfo(version="2.11.3", ldm=True)))
    assert handshake.state is State.LEAVING


def test_nothing_is_said_before_tls_where_tls_is_wanted() -> None:
    handshake = shake(want_tls=True)
    handshake.received(Info(ServerInfo(version="2.12.0", tls_available=True)))
    assert handshake.state is State.AWAIT_TLS
    assert handshake.outgoing() == b""
    handshake.secured()
    assert handshake.outgoing().startswith(b"CONNECT ")
    with pytest.raises(WrongState):
        handshake.secured()


def test_a_server_without_tls_is_refused_where_tls_is_wanted() -> None:
    with pytest.raises(Refused, match="has no TLS"):
        shake(want_tls=True).received(INFO)


@pytest.mark.parametrize("version", ["2.10.29", "2.9.1", "1.0.0", "", "new", "2"])
def test_a_server_before_2_11_is_too_old_and_the_error_says_which_it_is(version: str) -> None:
    with pytest.raises(ServerTooOld) as caught:
        shake().received(Info(ServerInfo(version=version)))
    assert (caught.value.version, caught.value.needed) == (version, "2.11")
    assert "too old" in str(caught.value)


@pytest.mark.parametrize("version", ["2.11.0", "v2.11.0-beta.2", "2.12.1", "3.0.0", "10.1.0"])
def test_later_servers_are_new_enough(version: str) -> None:
    assert decode_info(b'{"version":"%b"}' % version.encode()).is_new_enough


def test_wrong_credentials_end_a_handshake_with_an_error_of_their_own() -> None:
    handshake = shake()
    handshake.received(INFO)
    with pytest.raises(AuthorizationViolation, match="Authorization Violation"):
        handshake.received(Error("Authorization Violation"))
    assert handshake.state is State.CLOSED


SAMPLES: dict[Event, protocol.Event] = {
    Event.INFO: INFO,
    Event.PING: Ping(),
    Event.PONG: Pong(),
    Event.OKAY: Okay(),
    Event.MESSAGE: Message("a", b""),
    Event.ERROR: Error("x"),
    Event.LAME_DUCK: Info(ServerInfo(version="2.11.3", ldm=True)),
}


@given(st.lists(st.sampled_from(list(SAMPLES.values()))))
def test_any_order_of_events_is_in_the_table_or_a_fault(events: list[protocol.Event]) -> None:
    handshake = shake()
    for event in events:
        before = handshake.state
        try:
            handshake.received(event)
        except (ProtocolFault, Refused):
            break
        assert any(handshake.state is TABLE[key] for key in TABLE if key[0] is before)


def test_errors_of_a_connection_by_their_text() -> None:
    error = server_error('Permissions Violation for Publish to "a.b"')
    assert isinstance(error, PermissionsViolation)
    assert (error.operation, error.subject) == ("publish", "a.b")
    error = server_error('Permissions Violation for Subscription to "a.>" using queue "q"')
    assert isinstance(error, PermissionsViolation)
    assert (error.operation, error.subject) == ("subscription", "a.>")
    assert isinstance(server_error("Stale Connection"), ServerError)
