"""Handshakes: each cell of the table, each refusal, and what is remembered when one breaks."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.errors import WrongState
from transports.wire import frames
from transports.wire.frames import Hello, Reason, Refuse
from transports.wire.handshake import TABLE, Agreed, Event, Handshake, Refused, State

NEAR = Hello("near", 7, 1, 0, 0, 0, 16, 4096, 1 << 26)
FAR = Hello("far", 9, 1, 0, 0, 0, 32, 4096, 1 << 26)
FRAMES = {
    Event.HELLO: frames.encode_hello(FAR),
    Event.WELCOME: frames.encode_welcome(),
    Event.REFUSE: frames.encode_refuse(Refuse(Reason.FENCED, "you are over")),
}


def in_state(state: State) -> Handshake:
    handshake = Handshake(NEAR)
    steps = {
        State.AWAIT_HELLO: (),
        State.AWAIT_WELCOME: (Event.HELLO,),
        State.AGREED: (Event.HELLO, Event.WELCOME),
        State.REFUSED: (Event.REFUSE,),
    }
    for event in steps[state]:
        handshake.received(FRAMES[event])
    assert handshake.state is state
    return handshake


def between(near: Hello, far: Hello) -> tuple[Any, Any]:
    """The results of both sides, over a network that loses nothing."""
    sides = Handshake(near), Handshake(far)
    for _ in range(3):
        for side, other in (sides, sides[::-1]):
            for frame in side.outgoing():
                if other.result is None:
                    other.received(frame)
    return sides[0].result, sides[1].result


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_each_cell_of_the_table(state: State, event: Event) -> None:
    handshake = in_state(state)
    if state in {State.AGREED, State.REFUSED}:
        with pytest.raises(WrongState, match=f"in the state {state.value}"):
            handshake.received(FRAMES[event])
        assert handshake.state is state
        return
    handshake.received(FRAMES[event])
    if (state, event) == (State.AWAIT_WELCOME, Event.HELLO):
        # The same HELLO again, which a network may have doubled.
        assert handshake.state is state
        return
    assert handshake.state is TABLE.get((state, event), State.REFUSED)
    if (state, event) not in TABLE:
        assert isinstance(handshake.result, Refused)
        assert handshake.result.reason is Reason.MALFORMED


def test_both_sides_agree_on_a_new_session() -> None:
    assert between(NEAR, FAR) == (Agreed(FAR, False, 0), Agreed(NEAR, False, 0))


def test_both_sides_go_on_behind_what_the_other_has_received() -> None:
    near = attrs.evolve(NEAR, peer_incarnation=9, peer_session=1, received=40)
    far = attrs.evolve(FAR, peer_incarnation=7, peer_session=1, received=50)
    assert between(near, far) == (Agreed(far, True, 50), Agreed(near, True, 40))


def test_a_handshake_that_only_one_side_finished_is_no_end_of_a_session() -> None:
    # The far side agreed on a connection before, the near side did not: nothing was exchanged.
    far = attrs.evolve(FAR, peer_incarnation=7, peer_session=1)
    assert between(NEAR, far) == (Agreed(far, False, 0), Agreed(NEAR, True, 0))


@pytest.mark.parametrize("changed", [{"incarnation": 10}, {"session": 2}])
def test_another_process_or_session_of_the_peer_ends_the_old_session(
    changed: dict[str, int],
) -> None:
    near = attrs.evolve(NEAR, peer_incarnation=9, peer_session=1, received=40)
    far = attrs.evolve(FAR, **changed)
    # Not resumed, and neither has anything of the other.
    assert between(near, far) == (Agreed(far, False, 0), Agreed(near, False, 0))


def test_the_hello_goes_first_and_the_welcome_after_the_peers_hello() -> None:
    handshake = Handshake(NEAR)
    assert handshake.outgoing() == [frames.encode_hello(NEAR)]
    assert handshake.outgoing() == []
    assert handshake.received(FRAMES[Event.HELLO]) is None
    assert handshake.outgoing() == [frames.encode_welcome()]
    assert handshake.received(FRAMES[Event.HELLO]) is None
    assert handshake.outgoing() == []


@pytest.mark.parametrize(
    ("me", "options", "peer", "reason", "text"),
    [
        (NEAR, {}, attrs.evolve(FAR, node="near"), Reason.OWN_NAME, "both nodes are called near"),
        (NEAR, {"expected": "moon"}, FAR, Reason.WRONG_NAME, "moon was called, and far answered"),
        (NEAR, {"fence": 10}, FAR, Reason.FENCED, "incarnation 9 is over: 10 is the least"),
        (
            attrs.evolve(NEAR, peer_incarnation=10, peer_session=1),
            {"fence": 3},
            FAR,
            Reason.FENCED,
            "incarnation 9 is over: 10 is the least",
        ),
        (
            attrs.evolve(NEAR, peer_incarnation=9, peer_session=3),
            {},
            FAR,
            Reason.SESSION_OVER,
            "session 1 is over: 3 came after it",
        ),
        (
            NEAR,
            {},
            attrs.evolve(FAR, max_frame=4095),
            Reason.FRAME_SIZE,
            "frames of up to 4096 bytes are sent, the peer takes 4095",
        ),
    ],
)
def test_each_objection_to_a_peer_is_told_to_it(
    me: Hello, options: dict[str, Any], peer: Hello, reason: Reason, text: str
) -> None:
    handshake = Handshake(me, **options)
    handshake.outgoing()
    assert handshake.received(frames.encode_hello(peer)) == Refused(reason, text, by_peer=False)
    [told] = handshake.outgoing()
    other = Handshake(peer)
    assert other.received(told) == Refused(reason, text, by_peer=True)
    # Who was refused says nothing more than its HELLO.
    assert other.outgoing() == [frames.encode_hello(peer)]


def test_a_later_session_of_a_peer_is_no_fenced_one() -> None:
    me = attrs.evolve(NEAR, peer_incarnation=9, peer_session=3)
    for peer in (attrs.evolve(FAR, session=4), attrs.evolve(FAR, incarnation=10)):
        handshake = Handshake(me, expected="far", fence=9)
        assert handshake.received(frames.encode_hello(peer)) is None


def test_another_protocol_and_version_are_told_apart_whatever_follows() -> None:
    hello = frames.encode_hello(FAR)
    for frame, reason in (
        (hello[:1] + b"HTTP" + hello[5:], Reason.MAGIC),
        (hello[:6] + b"\x63 of another form", Reason.VERSION),
        (hello[:6], Reason.MALFORMED),
        (hello[:-1], Reason.MALFORMED),
    ):
        result = Handshake(NEAR).received(frame)
        assert isinstance(result, Refused)
        assert result.reason is reason


def test_another_hello_after_the_first_is_refused() -> None:
    handshake = in_state(State.AWAIT_WELCOME)
    result = handshake.received(frames.encode_hello(attrs.evolve(FAR, incarnation=10)))
    assert isinstance(result, Refused)
    assert "in the state 'await welcome'" in result.text


@given(st.lists(st.binary(max_size=80), max_size=4), st.booleans())
def test_arbitrary_bytes_are_refused_or_agreed(pieces: list[bytes], greeted: bool) -> None:
    handshake = in_state(State.AWAIT_WELCOME if greeted else State.AWAIT_HELLO)
    for piece in pieces:
        if handshake.received(piece) is not None:
            break
    over = handshake.state in {State.AGREED, State.REFUSED}
    assert over == (handshake.result is not None)


@pytest.mark.parametrize("options", [{"expected": "near"}, {"fence": -1}, {"fence": 1.0}])
def test_a_handshake_that_makes_no_sense_cannot_be_made(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Handshake(NEAR, **options)
