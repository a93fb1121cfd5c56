"""Introductions: each refusal, whoever says what, and proofs that are worth nothing elsewhere."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import InvalidAddress
from transports.errors import WrongState
from transports.wire import frames
from transports.wire.frames import Reason, Refuse
from transports.wire.introduction import (
    NONCE,
    PROVE,
    TABLE,
    Introduced,
    Introduction,
    NotIntroduced,
    Role,
    State,
)

SECRET = b"sixteen bytes or more"
OTHER = b"another secret of that length"


def made(
    me: str, role: Role, secret: bytes | None = None, expected: str | None = None, nonce: int = 0
) -> Introduction:
    number = nonce or (1 if role is Role.CALLER else 2)
    return Introduction(me, role, bytes([number]) * NONCE, secret=secret, expected=expected)


def exchange(caller: Introduction, called: Introduction) -> list[bytes]:
    """Let both talk until neither has more to say; all frames that were sent, in order."""
    said = []
    for _ in range(4):
        for side, other in ((caller, called), (called, caller)):
            for frame in side.outgoing():
                said.append(frame)
                if other.result is None:
                    other.received(frame)
    return said


def both(
    secret: bytes | None, others: bytes | None, names: tuple[str, str] = ("near", "far")
) -> tuple[object, object]:
    caller, called = made(names[0], Role.CALLER, secret), made(names[1], Role.CALLED, others)
    exchange(caller, called)
    return caller.result, called.result


@pytest.mark.parametrize("secret", [None, SECRET])
def test_two_nodes_learn_each_others_name(secret: bytes | None) -> None:
    assert both(secret, secret) == (Introduced("far"), Introduced("near"))


@pytest.mark.parametrize(
    ("secret", "others", "text"),
    [
        (SECRET, OTHER, "different secrets"),
        (SECRET, None, "was given none"),
        (None, SECRET, "was given none"),
    ],
)
def test_without_the_secret_both_sides_are_told_why(
    secret: bytes | None, others: bytes | None, text: str
) -> None:
    results = both(secret, others)
    for result in results:
        assert isinstance(result, NotIntroduced)
        assert result.reason is Reason.SECRET
        assert text in result.text
    assert any(result.by_peer for result in results) or (secret is None) != (others is None)


def test_a_node_of_the_same_name_is_refused() -> None:
    result, _ = both(None, None, ("near", "near"))
    assert isinstance(result, NotIntroduced)
    assert result.reason is Reason.OWN_NAME


def test_another_node_than_the_one_that_was_called_is_refused() -> None:
    caller = made("near", Role.CALLER, SECRET, expected="cart")
    called = made("far", Role.CALLED, SECRET)
    exchange(caller, called)
    for side, by_peer in ((caller, False), (called, True)):
        assert isinstance(side.result, NotIntroduced)
        assert (side.result.reason, side.result.by_peer) == (Reason.WRONG_NAME, by_peer)
        assert side.result.text == "cart was called, and far answered"


def test_who_was_called_proves_nothing_to_a_caller_that_has_not() -> None:
    called = made("far", Role.CALLED, SECRET)
    called.received(made("near", Role.CALLER, OTHER).outgoing()[0])
    assert [frame[0] for frame in called.outgoing()] != []
    called.received(bytes([PROVE]) + bytes(32))
    kinds = [frame[0] for frame in called.outgoing()]
    assert kinds == [frames.REFUSE]


def test_what_was_recorded_of_one_introduction_opens_no_other() -> None:
    caller, called = made("near", Role.CALLER, SECRET), made("far", Role.CALLED, SECRET)
    said = exchange(caller, called)
    by_caller = [said[0], *[frame for frame in said[1:] if frame[0] == PROVE][:1]]
    again = made("far", Role.CALLED, SECRET, nonce=3)
    assert again.received(by_caller[0]) is None
    result = again.received(by_caller[1])
    assert isinstance(result, NotIntroduced)
    assert result.reason is Reason.SECRET


def test_a_proof_that_is_sent_back_to_where_it_came_from_is_refused() -> None:
    # Who does not know the secret lets the node that it calls prove it, on another connection.
    victim_called = made("victim", Role.CALLED, SECRET)
    victim_calls = made("victim", Role.CALLER, SECRET)
    (introduce,) = victim_calls.outgoing()
    mirrored = introduce.replace(b"victim", b"mirror")
    victim_called.received(mirrored)
    (answer,) = victim_called.outgoing()
    victim_calls.received(answer.replace(b"victim", b"mirror"))
    (proof,) = victim_calls.outgoing()
    result = victim_called.received(proof)
    assert isinstance(result, NotIntroduced)
    assert result.reason is Reason.SECRET


def test_another_version_or_protocol_is_refused_whatever_follows() -> None:
    for at, reason in ((1, Reason.MAGIC), (6, Reason.VERSION)):
        (frame,) = made("far", Role.CALLED).outgoing()
        changed = bytearray(frame[:7])
        changed[at] ^= 0x40
        side = made("near", Role.CALLER)
        result = side.received(bytes(changed))
        assert isinstance(result, NotIntroduced)
        assert result.reason is reason
        assert side.outgoing()[-1][0] == frames.REFUSE


def test_a_refusal_for_a_reason_of_ones_own_names_the_peer() -> None:
    caller, called = made("near", Role.CALLER), made("far", Role.CALLED)
    exchange(caller, called)
    result = caller.refuse(Reason.CERTIFICATE, "not its name")
    assert (result.name, result.by_peer) == ("far", False)
    assert caller.state is State.REFUSED
    assert called.state is State.INTRODUCED


KINDS = {
    "introduce": made("far", Role.CALLED, SECRET).outgoing()[0],
    "prove": bytes([PROVE]) + bytes(32),
    "refuse": frames.encode_refuse(Refuse(Reason.FENCED, "over")),
    "hello": frames.encode_hello(frames.Hello("far", 1, 1, 0, 0, 0, 1, 2048, 1 << 26)),
    "nothing": b"",
}


@pytest.mark.parametrize(("state", "kind"), list(itertools.product(State, KINDS)))
def test_each_cell_of_the_table(state: State, kind: str) -> None:
    side = made("near", Role.CALLER, SECRET)
    if state is State.AWAIT_PROOF:
        side.received(KINDS["introduce"])
    elif state is State.REFUSED:
        side.received(KINDS["refuse"])
    elif state is State.INTRODUCED:
        exchange(side, made("far", Role.CALLED, SECRET))
    assert side.state is state
    frame = KINDS[kind]
    if side.result is not None:
        with pytest.raises(WrongState, match=state.value):
            side.received(frame)
        return
    side.received(frame)
    if frame and (state, frame[0]) in TABLE:
        # The proof of this test is none.
        after = TABLE[state, frame[0]] if kind != "prove" else (State.REFUSED,)
        assert side.state in after
    else:
        assert isinstance(side.result, NotIntroduced)
        assert side.result.reason is Reason.MALFORMED


@given(st.binary(max_size=600), st.sampled_from(Role), st.booleans())
def test_whatever_bytes_come_nobody_is_introduced_without_the_secret(
    data: bytes, role: Role, introduced: bool
) -> None:
    side = made("near", role, SECRET)
    if introduced:
        side.received(made("far", Role.CALLED, SECRET, nonce=4).outgoing()[0])
    result = side.received(data)
    assert not isinstance(result, Introduced)
    for frame in side.outgoing():
        assert len(frame) <= 512


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"secret": b"short"}, ValueError),
        ({"secret": "text that is long enough"}, TypeError),
        ({"nonce": b""}, ValueError),
        ({"me": "a/b"}, InvalidAddress),
        ({"me": "n" * 256}, ValueError),
    ],
)
def test_nonsense_is_refused_by_the_constructor(
    change: dict[str, object], error: type[Exception]
) -> None:
    given: dict[str, object] = {"me": "near", "nonce": bytes(NONCE), "secret": SECRET, **change}
    with pytest.raises(error):
        Introduction(given["me"], Role.CALLER, given["nonce"], secret=given["secret"])  # type: ignore[arg-type]


def test_the_page_of_the_wire_has_these_bytes() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "wire.md").read_text()
    said = exchange(made("near", Role.CALLER, SECRET), made("far", Role.CALLED, SECRET))
    proofs = [frame[1:].hex() for frame in said if frame[0] == PROVE]
    assert f"near: 0a {proofs[0]}" in page
    assert f"far:  0a {proofs[1]}" in page
    assert f"04 {b'near'.hex()}" in page
    assert said[0].hex(" ").startswith("09 54 52 50 52 00 01 01")
