"""One session at a time: its table, its timers, its window, and peers that break the rules."""

from __future__ import annotations

import itertools
from math import inf
from typing import Any

import attrs
import msgspec
import pytest

from transports.errors import DecodeError, WindowFull, WrongState
from transports.wire import frames
from transports.wire.frames import Ack, Hello
from transports.wire.handshake import Agreed
from transports.wire.inbound import Delivery
from transports.wire.session import ACK_WITHIN, Session
from transports.wire.session_states import TABLE, Event, State

FAR = Hello("far", 9, 1, 0, 0, 0, 4, 1 << 24, 1 << 26)
FRESH = Agreed(FAR, False, 0)


def resumed(peer_received: int) -> Agreed:
    return Agreed(FAR, True, peer_received)


def data(sequence: int, payload: bytes = b"m", charged: bool = True) -> bytes:
    return frames.DATA_HEADER.pack(frames.DATA, charged, sequence) + payload


def ack(received: int, accepted: int, *ranges: tuple[int, int], resend: bool = False) -> bytes:
    return frames.encode_ack(Ack(resend, received, accepted, ranges))


def connected(window: int = 4, **settings: Any) -> Session:
    session = Session(window, 1.0, heartbeat=100.0, **settings)
    session.connected(FRESH, 0.0)
    return session


def sent(count: int, now: float = 0.0) -> Session:
    """A session that has written `count` messages, each by itself."""
    session = connected()
    for number in range(count):
        session.send(b"%d" % number)
        session.outgoing(now)
    return session


def batch(sequence: int, *payloads: bytes, charged: bool = True) -> bytes:
    return frames.encode_batch(charged, sequence, payloads)


def in_state(state: State) -> Session:
    session = Session()
    if state is not State.NEW:
        session.connected(FRESH, 0.0)
        session.received(data(1), 0.0)
    if state is State.DISCONNECTED:
        session.disconnected()
    if state is State.CLOSED:
        session.lost()
    assert session.state is state
    return session


def do(session: Session, event: Event) -> None:
    match event:
        case Event.SEND:
            session.send(b"m", charged=False)
        case Event.HELLO:
            session.hello("near", 7)
        case Event.CONNECT:
            session.connected(resumed(0) if session.peer else FRESH, 0.0)
        case Event.DISCONNECT:
            session.disconnected()
        case Event.RECEIVE:
            session.received(frames.encode_number(frames.PING, 1), 0.0)
        case Event.ACCEPT:
            session.accepted(1)
        case Event.CLOSE:
            session.close()
        case Event.LOSE:
            session.lost()


@pytest.mark.parametrize(
    ("state", "event"),
    [each for each in itertools.product(State, Event) if each[1] is not Event.BOTH_CLOSED],
)
def test_each_cell_of_the_table(state: State, event: Event) -> None:
    session = in_state(state)
    after = TABLE.get((state, event))
    if after is None:
        with pytest.raises(WrongState) as raised:
            do(session, event)
        assert (raised.value.state, raised.value.event) == (state.value, event.value)
        assert session.state is state
    else:
        do(session, event)
        assert session.state is after


@pytest.mark.parametrize("state", [State.NEW, State.DISCONNECTED, State.CLOSED])
def test_without_a_connection_there_is_nothing_to_write_or_to_wait_for(state: State) -> None:
    session = in_state(state)
    if state is not State.CLOSED:
        session.send(b"m", charged=False)
    assert session.outgoing(1e9) == []
    assert session.wake_at(1e9) == inf
    assert session.silent_at == inf


def test_messages_are_numbered_from_one_and_written_once() -> None:
    session = connected()
    assert [session.send(b"a"), session.send(b"b", charged=False)] == [1, 2]
    assert session.wake_at(0.0) == 0.0
    assert session.outgoing(0.0) == [data(1, b"a"), data(2, b"b", False)]
    assert session.outgoing(0.0) == []


def test_what_is_not_charged_is_queued_before_the_first_connection_and_the_rest_is_refused() -> (
    None
):
    session = Session()
    assert not session.has_credit
    with pytest.raises(WindowFull, match="no window before the first connection"):
        session.send(b"m")
    session.send(b"m", charged=False)
    session.connected(FRESH, 0.0)
    assert session.outgoing(0.0) == [data(1, b"m", False)]


def test_the_window_is_that_of_the_peer_and_counts_until_accepted() -> None:
    session = sent(4)
    assert not session.has_credit
    with pytest.raises(WindowFull) as raised:
        session.send(b"m")
    assert raised.value.window == FAR.window
    # What is not charged passes, and does not count.
    session.send(b"reply", charged=False)
    session.received(ack(4, 0), 0.0)
    assert not session.has_credit
    session.received(ack(4, 0, (3, 3)), 0.0)
    assert session.has_credit
    assert session.acknowledged() == [3]
    session.send(b"m")
    assert not session.has_credit
    assert session.unacknowledged == 5


def test_a_message_refused_for_the_window_takes_no_number() -> None:
    session = sent(4)
    with pytest.raises(WindowFull):
        session.send(b"m")
    assert session.send(b"m", charged=False) == 5


def test_a_message_that_no_frame_holds_is_refused() -> None:
    session = connected(max_frame=2048)
    session.send(b"x" * (2048 - 10))
    with pytest.raises(ValueError, match="2039 bytes do not fit into a frame of 2048"):
        session.send(b"x" * (2048 - 9))


def test_deliveries_are_in_order_and_once_and_a_gap_is_asked_for_once() -> None:
    session = connected()
    assert session.received(data(1, b"a"), 0.0) == [Delivery(1, b"a", True)]
    assert session.received(data(1, b"a"), 0.0) == []
    assert session.received(data(3, b"c"), 0.0) == []
    assert session.outgoing(0.0) == [ack(1, 0, resend=True)]
    assert session.received(data(4, b"d"), 0.0) == []
    assert session.outgoing(0.0) == [ack(1, 0)]
    assert session.received(data(2, b"b", False), 0.0) == [Delivery(2, b"b", False)]
    # The next gap.
    assert session.received(data(4, b"d"), 0.0) == []
    assert session.outgoing(0.0) == [ack(2, 0, resend=True)]


def test_one_ack_tells_all_that_was_received_and_accepted_since() -> None:
    session = connected()
    for number in range(1, 5):
        session.received(data(number), 0.0)
    session.accepted(4)
    session.accepted(2)
    assert session.wake_at(0.0) == 0.0
    assert session.outgoing(0.0) == [ack(4, 0, (2, 2), (4, 4))]
    session.accepted(1)
    assert session.outgoing(0.0) == [ack(4, 2, (4, 4))]
    session.accepted(3)
    assert session.outgoing(0.0) == [ack(4, 4)]
    assert session.outgoing(0.0) == []


@pytest.mark.parametrize("sequence", [0, -1, 3, 1])
def test_what_was_not_delivered_or_is_accepted_already_cannot_be_accepted(sequence: int) -> None:
    session = connected()
    session.received(data(1), 0.0)
    session.received(data(2), 0.0)
    session.accepted(1)
    with pytest.raises(ValueError, match=f"message {sequence} was not delivered"):
        session.accepted(sequence)


def test_ranges_whose_acknowledgements_were_lost_are_told_again_in_turn() -> None:
    near, far = Session(400), Session(400)
    hellos = near.hello("near", 1), far.hello("far", 1)
    near.connected(Agreed(hellos[1], False, 0), 0.0)
    far.connected(Agreed(hellos[0], False, 0), 0.0)
    for _ in range(400):
        near.send(b"m")
    for frame in near.outgoing(0.0):
        far.received(frame, 0.0)
    for number in range(2, 401, 2):
        far.accepted(number)
    acknowledged = []
    assert len(far.outgoing(0.0)) == 4
    for turn in range(4):
        # Any reason for an ACK does: here, a PING.
        far.received(frames.encode_number(frames.PING, 1), 0.0)
        frame, *_ = far.outgoing(0.0)
        near.received(frame, 0.0)
        acknowledged += near.acknowledged()
        assert len(acknowledged) == min(64 * (turn + 1), 200)
    assert acknowledged == list(range(2, 401, 2))
    # And again from the first.
    far.received(frames.encode_number(frames.PING, 1), 0.0)
    assert frames.decode_ack(far.outgoing(0.0)[0]).ranges[0] == (2, 2)


def test_what_the_peer_asks_for_is_written_again_once() -> None:
    session = sent(4)
    session.received(ack(1, 0, resend=True), 0.0)
    again = [data(2, b"1"), data(3, b"2"), data(4, b"3")]
    assert session.outgoing(0.0) == again
    # A network that doubles frames.
    session.received(ack(1, 0, resend=True), 0.0)
    assert session.outgoing(0.0) == []
    session.received(ack(2, 0, resend=True), 0.0)
    assert session.outgoing(0.0) == again[1:]


def test_an_ack_that_comes_late_says_nothing_new() -> None:
    session = sent(4)
    session.received(ack(4, 2), 0.0)
    assert session.acknowledged() == [1, 2]
    session.received(ack(1, 0, resend=True), 0.0)
    session.received(ack(3, 1, (3, 3)), 0.0)
    assert session.acknowledged() == [3]
    assert session.outgoing(0.0) == []
    assert session.unacknowledged == 1


def test_what_was_received_meanwhile_is_not_written_again() -> None:
    session = sent(4)
    session.received(ack(0, 0, resend=True), 0.0)
    session.received(ack(3, 0), 0.0)
    assert session.outgoing(0.0) == [data(4, b"3")]


def test_the_resend_timer_doubles_up_to_its_most_and_starts_anew_with_progress() -> None:
    session = sent(3)
    now, waits = 0.0, []
    for _ in range(5):
        assert session.outgoing(session.wake_at(now) - 0.01) == []
        waits.append(session.wake_at(now) - now)
        now = session.wake_at(now)
        assert len(session.outgoing(now)) == 3
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]
    session.received(ack(1, 0), now)
    assert session.wake_at(now) == now + 1.0
    # What says nothing new does not put the timer off.
    session.received(ack(1, 1), now + 0.5)
    assert session.wake_at(now) == now + 1.0
    session.received(ack(3, 1), now + 0.5)
    assert session.wake_at(now) == 100.0


def test_writing_more_does_not_put_the_resend_timer_off() -> None:
    session = sent(1, now=0.0)
    session.send(b"1")
    session.outgoing(0.9)
    assert session.wake_at(0.9) == 1.0


def test_a_request_after_the_timer_is_heard_though_it_is_the_same() -> None:
    session = sent(2)
    session.received(ack(0, 0, resend=True), 0.0)
    assert len(session.outgoing(0.0)) == 2
    assert len(session.outgoing(1.0)) == 2
    session.received(ack(0, 0, resend=True), 1.0)
    assert len(session.outgoing(1.0)) == 2


def test_a_new_connection_goes_on_behind_what_the_peer_has_received() -> None:
    session = sent(4)
    session.received(data(1), 0.0)
    # The gap would have been asked for; now it ends with the connection.
    session.received(data(3), 0.0)
    session.disconnected()
    session.send(b"4", charged=False)
    assert session.hello("near", 7) == Hello("near", 7, 1, 9, 1, 1, 4, 1 << 24, 1 << 26)
    session.connected(resumed(2), 5.0)
    # The ACK again: it may not have arrived.
    written = [ack(1, 0), data(3, b"2"), data(4, b"3"), data(5, b"4", False)]
    assert session.outgoing(5.0) == written


def test_what_belonged_to_a_connection_ends_with_it() -> None:
    session = sent(4)
    # The timer has doubled, a request was heard, and a question and an answer are due.
    session.outgoing(1.0)
    session.received(ack(0, 0, resend=True), 1.0)
    session.outgoing(1.0)
    session.received(data(2), 1.0)
    session.received(frames.encode_number(frames.PING, 1), 1.0)
    session.disconnected()
    session.connected(resumed(0), 5.0)
    written = [data(1, b"0"), data(2, b"1"), data(3, b"2"), data(4, b"3")]
    assert session.outgoing(5.0) == written
    assert session.wake_at(5.0) == 6.0
    # The same request and the same gap are new ones on a new connection.
    session.received(ack(0, 0, resend=True), 5.0)
    assert session.outgoing(5.0) == written
    session.received(data(2), 5.0)
    assert session.outgoing(5.0) == [ack(0, 0, resend=True)]


def test_a_hello_says_what_is_remembered_and_nothing_of_a_peer_never_met() -> None:
    session = Session(8, number=3, max_frame=4096)
    assert session.hello("near", 7) == Hello("near", 7, 3, 0, 0, 0, 8, 4096, 1 << 26)


def test_an_agreement_about_another_session_is_a_fault_of_the_caller() -> None:
    session = sent(1)
    session.disconnected()
    with pytest.raises(ValueError, match="about another session"):
        session.connected(FRESH, 0.0)
    with pytest.raises(ValueError, match="about another session"):
        Session().connected(resumed(0), 0.0)
    assert session.state is State.DISCONNECTED


@pytest.mark.parametrize("peer_received", [5, 1])
def test_a_peer_that_has_what_was_never_written_or_forgets_is_refused(peer_received: int) -> None:
    session = sent(4)
    session.received(ack(2, 0), 0.0)
    session.disconnected()
    session.send(b"queued, not written", charged=False)
    with pytest.raises(DecodeError, match=f"{peer_received} received"):
        session.connected(resumed(peer_received), 0.0)
    assert session.state is State.DISCONNECTED
    session.connected(resumed(4), 0.0)


def test_a_window_does_not_change_within_a_session() -> None:
    session = sent(1)
    session.disconnected()
    with pytest.raises(DecodeError, match="5, after 4"):
        session.connected(Agreed(attrs.evolve(FAR, window=5), True, 0), 0.0)


def test_what_is_lost_is_all_that_was_not_accepted_in_order() -> None:
    session = sent(4)
    session.received(ack(4, 1, (3, 3)), 0.0)
    session.disconnected()
    session.send(b"reply", charged=False)
    assert session.lost() == [(2, b"1", True), (4, b"3", True), (5, b"reply", False)]
    assert session.lost() == []
    assert session.state is State.CLOSED
    assert session.unacknowledged == 0


def test_a_renewed_session_is_empty_and_has_the_same_settings_and_number() -> None:
    session = Session(7, 2.0, number=5, max_frame=4096, heartbeat=3.0)
    session.connected(FRESH, 0.0)
    session.send(b"m")
    renewed = session.renewed()
    assert renewed.state is State.NEW
    assert renewed.unacknowledged == 0
    assert renewed.hello("near", 7) == Hello("near", 7, 5, 0, 0, 0, 7, 4096, 1 << 26)
    renewed.connected(FRESH, 0.0)
    assert renewed.wake_at(0.0) == 3.0
    assert 6.0 < renewed.silent_at < 9.0


def test_a_heartbeat_is_answered_and_repeats_an_ack_that_was_lost() -> None:
    session = Session(heartbeat=1.0)
    session.connected(FRESH, 10.0)
    assert session.wake_at(10.0) == 11.0
    assert session.outgoing(10.9) == []
    ping = frames.encode_number(frames.PING, 1)
    assert session.outgoing(11.0) == [ping]
    assert session.wake_at(11.0) == 12.0
    session.received(data(1), 11.0)
    session.outgoing(11.0)
    session.received(ping, 11.0)
    session.received(frames.encode_number(frames.PING, 2), 11.0)
    assert session.wake_at(11.0) == 11.0
    # Pings that were not answered yet are answered once.
    assert session.outgoing(11.0) == [ack(1, 0), frames.encode_number(frames.PONG, 2)]


@pytest.mark.parametrize(
    "frame",
    [
        data(1),
        data(9),
        ack(0, 0),
        frames.encode_number(frames.PING, 1),
        frames.encode_number(frames.PONG, 0),
        frames.encode_welcome(),
        frames.encode_hello(FAR),
    ],
)
def test_any_frame_breaks_the_silence(frame: bytes) -> None:
    session = Session(heartbeat=2.0)
    session.connected(FRESH, 10.0)
    assert 14.0 < session.silent_at < 16.0
    session.outgoing(12.9)
    assert session.silent_at < 16.0
    session.received(frame, 12.9)
    assert 16.9 < session.silent_at < 18.9


def test_silence_is_measured_by_the_rhythm_of_the_peers_own_heartbeats() -> None:
    session = Session(heartbeat=1.0)
    session.connected(FRESH, 0.0)
    first = session.silent_at
    session.outgoing(1.0)
    for number in range(1, 40):
        # The answers to ours come in between, and have another rhythm.
        session.received(frames.encode_number(frames.PING, number), number - 0.5)
        session.received(frames.encode_number(frames.PONG, 1), float(number))
    assert session.silent_at == pytest.approx(39.0 + first)
    # An irregular one is waited for a little longer, and 3 intervals at the most.
    for number in range(1, 40):
        session.received(frames.encode_number(frames.PING, number), 40.0 + 4 * number)
    assert session.silent_at == 40.0 + 4 * 39 + 3.0
    session.disconnected()
    assert session.silent_at == inf


def test_a_close_is_sent_when_all_is_accepted_and_both_have_to_say_it() -> None:
    session = sent(1)
    session.close()
    with pytest.raises(WrongState, match="send is not possible in the state closing"):
        session.send(b"m")
    session.received(ack(1, 0), 0.0)
    assert session.outgoing(0.0) == []
    session.received(ack(1, 1), 0.0)
    close = frames.encode_number(frames.CLOSE, 1)
    assert session.wake_at(0.0) == 0.0
    assert session.outgoing(0.0) == [close]
    # It goes on receiving, and says it again if it is not answered: it may have been lost.
    assert session.received(data(1), 0.0) == [Delivery(1, b"m", True)]
    session.accepted(1)
    assert session.outgoing(0.5) == [ack(1, 1)]
    assert session.outgoing(1.0) == [close]
    assert not session.peer_closing
    session.received(frames.encode_number(frames.CLOSE, 1), 1.0)
    assert session.peer_closing
    assert session.state is State.CLOSED
    assert session.received(b"whatever comes with it", 1.0) == []
    assert session.lost() == []


def test_the_side_that_closes_last_is_closed_when_it_has_written_so() -> None:
    session = sent(1)
    session.received(frames.encode_number(frames.CLOSE, 0), 0.0)
    session.received(frames.encode_number(frames.CLOSE, 0), 0.0)
    assert session.state is State.CONNECTED
    session.close()
    session.received(ack(1, 1), 0.0)
    assert session.outgoing(0.0) == [frames.encode_number(frames.CLOSE, 1)]
    assert session.state is State.CLOSED


def test_a_close_is_said_again_on_a_new_connection() -> None:
    session = sent(0)
    session.close()
    close = frames.encode_number(frames.CLOSE, 0)
    assert session.outgoing(0.0) == [close]
    session.disconnected()
    session.connected(resumed(0), 1.0)
    assert session.outgoing(1.0) == [close]


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (ack(3, 0), "3 received, of 2 written"),
        (ack(3, 3), "3 received, of 2 written"),
        (ack(2**64 - 1, 0, (5, 2**64 - 1)), "of 2 written"),
        (data(4), "message 4 is beyond the window, 3"),
        (frames.encode_number(frames.PONG, 1), "a PONG without its PING"),
        (frames.encode_number(frames.CLOSE, 2), "a CLOSE that is not behind 3"),
        (frames.encode_number(frames.CLOSE, 4), "a CLOSE that is not behind 3"),
        (frames.encode_refuse(frames.Refuse(frames.Reason.FENCED, "")), "a REFUSE behind"),
        (b"", "without a kind"),
        (b"\x00", "of kind 0"),
        (b"\x04", "ends within its header"),
        (b"\x05", "ends within its header"),
        (b"\x06", "of 1 bytes"),
        (b"\x07", "of 1 bytes"),
        (b"\x08", "of 1 bytes"),
    ],
)
def test_a_peer_that_breaks_the_rules_is_an_error_and_nothing_of_it_is_taken(
    frame: bytes, why: str
) -> None:
    session = connected(window=3)
    session.send(b"a")
    session.send(b"b")
    for number in (1, 2, 3):
        session.received(data(number), 0.0)
    session.outgoing(0.0)
    session.send(b"queued, not written")
    with pytest.raises(DecodeError) as raised:
        session.received(frame, 150.0)
    assert why in raised.value.why
    assert session.unacknowledged == 3
    assert session.acknowledged() == []
    assert session.outgoing(0.0) == [data(3, b"queued, not written")]
    assert not session.peer_closing
    # It is not what breaks the silence either.
    assert session.silent_at < 300.0
    # The session may go on over another connection.
    session.disconnected()
    session.connected(resumed(2), 200.0)
    session.accepted(1)
    assert session.received(data(4, b"next"), 200.0) == [Delivery(4, b"next", True)]


def test_a_new_message_behind_a_close_is_an_error_and_an_old_one_is_not() -> None:
    session = connected()
    session.received(data(1), 0.0)
    session.received(frames.encode_number(frames.CLOSE, 1), 0.0)
    assert session.received(data(1), 0.0) == []
    with pytest.raises(DecodeError, match="message 2 behind a CLOSE"):
        session.received(data(2), 0.0)


def test_a_peer_that_floods_is_answered_with_two_frames() -> None:
    session = connected(window=3)
    for number in range(1, 4):
        session.received(data(number), 0.0)
    for _ in range(1000):
        session.received(frames.encode_number(frames.PING, 7), 0.0)
        session.received(data(1000), 0.0)
        with pytest.raises(DecodeError):
            session.received(data(4), 0.0)
    assert len(session.outgoing(0.0)) == 2


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"window": 0}, "window"),
        ({"window": 1.0}, "window"),
        ({"window": frames.MOST_WINDOW + 1}, "window"),
        ({"resend_after": 0}, "resend_after"),
        ({"resend_after": 9.0}, "resend_after: above 0, to 8.0"),
        ({"heartbeat": 0}, "heartbeat"),
        ({"heartbeat": inf}, "heartbeat: above 0, and finite"),
        ({"max_frame": 100}, "max_frame"),
        ({"number": 0}, "session"),
    ],
)
def test_a_session_that_makes_no_sense_cannot_be_made(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Session(**settings)


# -- batches


def test_what_is_sent_before_a_write_is_one_frame_in_runs_of_charged_and_not() -> None:
    session = connected()
    for payload, charged in ((b"1", True), (b"2", True), (b"3", False), (b"4", True), (b"5", True)):
        session.send(payload, charged)
    assert session.outgoing(0.0) == [
        batch(1, b"1", b"2"),
        data(3, b"3", False),
        batch(4, b"4", b"5"),
    ]


def test_a_batch_is_delivered_as_one_and_counts_against_the_window_as_many() -> None:
    session = connected(window=3)
    (delivery,) = session.received(batch(1, b"1", b"2", b"3"), 0.0)
    assert delivery.sequence == 1
    assert delivery.payloads() == [b"1", b"2", b"3"]
    with pytest.raises(DecodeError, match="message 5 is beyond the window"):
        session.received(batch(4, b"4", b"5"), 0.0)
    session.accepted(2)
    session.accepted(1)
    assert session.outgoing(0.0) == [ack(3, 2)]
    assert len(session.received(batch(4, b"4", b"5"), 0.0)) == 1
    session.accepted(3, 3)
    assert session.outgoing(0.0) == [ack(5, 5)]


def test_a_batch_that_comes_again_is_dropped_and_one_behind_a_gap_is_asked_for() -> None:
    session = connected()
    assert len(session.received(batch(1, b"1", b"2"), 0.0)) == 1
    assert session.received(batch(1, b"1", b"2"), 0.0) == []
    assert session.received(batch(4, b"4", b"5"), 0.0) == []
    assert session.outgoing(0.0) == [ack(2, 0, resend=True)]


def test_what_is_not_accepted_of_a_batch_is_lost_each_with_its_payload() -> None:
    session = connected()
    for payload in (b"1", b"2", b"3"):
        session.send(payload)
    session.outgoing(0.0)
    session.received(ack(3, 0, (2, 2)), 0.0)
    assert session.acknowledged() == [2]
    session.send(b"4")
    assert session.lost() == [(1, b"1", True), (3, b"3", True), (4, b"4", True)]


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (batch(1, b"1", b"2")[:12], "ends within its header"),
        (batch(0, b"1", b"2"), "sequence 0"),
        (batch(1, b"1"), "of 1"),
        (batch(1, *(b"1" for _ in range(257))), "of 257"),
        (batch((1 << 64) - 1, b"1", b"2"), "from 18446744073709551615 on"),
        (bytes([frames.BATCH, 2]) + batch(1, b"1", b"2")[2:], "charged 2"),
        (batch(1, b"1", b"2")[:10] + b"\x92" + batch(1, b"1", b"2")[11:], "array 146"),
    ],
)
def test_a_batch_that_is_none_is_an_error(frame: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        connected().received(frame, 0.0)


@pytest.mark.parametrize(
    "payload", [b"\xdc\x00\x02\x01", b"\xdc\x00\x02\x01\x02\x03", b"\xdc\x00\x03123"]
)
def test_a_batch_of_another_number_of_payloads_is_an_error_when_it_is_taken_apart(
    payload: bytes,
) -> None:
    with pytest.raises(DecodeError):
        Delivery(1, payload, True, 2).payloads()


def test_an_acknowledgement_may_wait_for_others_but_not_for_long() -> None:
    session = connected(window=8)
    session.received(data(1, b"1", False), 1.0)
    session.accepted(1, lazily=True)
    assert not session.is_urgent
    session.send(b"2")
    assert session.outgoing(1.0) == [data(1, b"2")]
    at = session.wake_at(1.0)
    assert at == 1.0 + ACK_WITHIN
    assert session.outgoing(at) == [ack(1, 1)]
    session.received(data(2, b"3"), 2.0)
    session.accepted(2)
    assert session.is_urgent
    assert session.wake_at(2.0) == 2.0


def test_an_acknowledgement_waits_for_some_only() -> None:
    session = connected(window=8)
    session.received(data(1, b"1"), 0.0)
    session.accepted(1, lazily=True)
    assert session.outgoing(0.0) == []
    session.received(data(2, b"2"), 0.0)
    session.accepted(2, lazily=True)
    assert session.outgoing(0.0) == [ack(2, 2)]


def test_all_that_was_accepted_is_told_at_once_however_many_ranges_it_takes() -> None:
    session = connected(window=1_000)
    for number in range(1, 401):
        session.received(data(number), 0.0)
    for number in range(2, 401, 2):
        session.accepted(number)
    told = [frames.decode_ack(frame).ranges for frame in session.outgoing(0.0)]
    assert [each[0] for part in told for each in part] == list(range(2, 401, 2))
    assert [len(part) for part in told] == [64, 64, 64, 8]
    # What is new is told at once; and with nothing new, all in turn.
    session.accepted(399)
    (only,) = session.outgoing(0.0)
    assert frames.decode_ack(only).ranges == ((398, 400),)
    session.received(frames.encode_number(frames.PING, 1), 0.0)
    (again, _) = session.outgoing(0.0)
    assert len(frames.decode_ack(again).ranges) == 64
    # On a new connection: all, since nobody knows what has arrived.
    session.disconnected()
    session.connected(resumed(0), 0.0)
    acks = [frames.decode_ack(frame).ranges for frame in session.outgoing(0.0)]
    assert sum(map(len, acks)) == 199


# -- the window in bytes


def test_what_is_not_accepted_is_bounded_in_bytes_too() -> None:
    near = Session(100, window_bytes=10)
    near.connected(Agreed(attrs.evolve(FAR, window=100, window_bytes=10), False, 0), 0.0)
    # The one that passes the window is sent still; so one that is larger than it can be.
    near.send(msgspec.msgpack.encode("x" * 8))
    near.send(msgspec.msgpack.encode("y" * 48))
    assert not near.has_credit
    with pytest.raises(WindowFull):
        near.send(b"z")
    near.send(b"control", charged=False)
    near.outgoing(0.0)
    near.received(ack(3, 1), 0.0)
    assert not near.has_credit
    near.received(ack(3, 2), 0.0)
    assert near.has_credit


def test_a_peer_that_sends_more_bytes_than_the_window_is_not_believed() -> None:
    session = connected(100, window_bytes=10)
    session.received(data(1, b"x" * 9), 0.0)
    session.received(data(2, b"x" * 9), 0.0)
    session.received(data(3, b"x" * 99, charged=False), 0.0)
    with pytest.raises(DecodeError, match="beyond the window of 10 bytes"):
        session.received(data(4, b"x"), 0.0)
    session.accepted(1)
    (delivery,) = session.received(data(4, b"x"), 0.0)
    assert delivery.sequence == 4


def test_a_window_in_bytes_that_changes_is_not_believed() -> None:
    session = connected()
    session.disconnected()
    changed = Agreed(attrs.evolve(FAR, window_bytes=9), True, 0)
    with pytest.raises(DecodeError, match="window_bytes"):
        session.connected(changed, 0.0)


def test_the_bytes_of_a_batch_are_given_back_message_by_message_where_they_are_received() -> None:
    session = connected(100, window_bytes=4)
    session.received(batch(1, b"\xa2ab", b"\x01", b"\xa2cd"), 0.0)
    session.accepted(2)
    with pytest.raises(DecodeError, match="beyond the window of 4 bytes"):
        session.received(data(4, b"x"), 0.0)
    session.accepted(3)
    (delivery,) = session.received(batch(4, b"x", b"y"), 0.0)
    session.accepted(1)
    session.accepted(4, 2)
    assert len(session.received(batch(6, b"\xa3abc", b"y"), 0.0)) == 1
    assert delivery.size == 2


def test_the_bytes_of_a_batch_are_given_back_message_by_message_where_it_was_sent() -> None:
    # (One that waits for room for long is not to hold the bytes of 255 others.)
    near = Session(100, window_bytes=4)
    near.connected(Agreed(attrs.evolve(FAR, window=100, window_bytes=4), False, 0), 0.0)
    near.send(b"\xa2ab")
    near.send(b"\x01")
    assert (near.credit, near.credit_bytes) == (0, 0)
    near.outgoing(0.0)
    near.received(ack(2, 0, (2, 2)), 0.0)
    assert (near.credit, near.credit_bytes) == (99, 1)
    near.disconnected()
    near.connected(Agreed(attrs.evolve(FAR, window=100, window_bytes=4), True, 2), 0.0)
    assert near.outgoing(0.0) == []
    near.received(ack(2, 2), 0.0)
    assert (near.credit, near.credit_bytes) == (100, 4)
    assert near.send_run([b"1", b"2"]) == 3
    with pytest.raises(WindowFull):
        near.send_run([b"1", b"2", b"3"])
    assert near.outgoing(0.0) == [batch(3, b"1", b"2")]
