"""A circuit breaker: the table, the circuit, and the ref."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors import ActorFailed, AskCycle, AskTimeout, Mailbox, MailboxFull, Terminated
from actors.testing import Probe
from supervision import CircuitBreaker, CircuitOpen, CircuitState
from supervision.circuit_breaker import TRANSITIONS, Circuit, CircuitEvent, Permit
from tests.actors.kit import Checked, Doer, Recorder, fail, nap

CLOSED, OPEN, HALF_OPEN = CircuitState


async def failing(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ActorFailed):
            await breaker.ask(fail)


async def test_it_opens_after_so_many_failures_in_a_row_and_then_fails_at_once(
    autojump_clock: Any,
) -> None:
    changes: list[Any] = []
    async with Checked("s", max_restarts=None) as system:
        ref = system.spawn(Doer)
        breaker = CircuitBreaker(
            ref, max_failures=3, reset_after=10, changed=lambda *states: changes.append(states)
        )
        await failing(breaker, 2)
        assert await breaker.ask("ok") == "ok"
        await failing(breaker, 3)
        assert breaker.state is OPEN
        sent = system.ledger.sent
        for call in (breaker.ask("x"), breaker.send("x")):
            with pytest.raises(CircuitOpen) as caught:
                await call
            assert (caught.value.ref, caught.value.message) == (ref, "x")
            assert caught.value.retry_after == 10
        with pytest.raises(CircuitOpen, match="try again in 10 s"):
            breaker.tell("x")
        assert system.ledger.sent == sent
        await trio.sleep(10)
        assert await breaker.ask("ok") == "ok"
        assert changes == [(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, CLOSED)]


async def test_a_failed_trial_opens_it_again_for_as_long(autojump_clock: Any) -> None:
    async with Checked("s", max_restarts=None) as system:
        breaker = CircuitBreaker(system.spawn(Doer), max_failures=1, reset_after=10)
        await failing(breaker, 1)
        await trio.sleep(10)
        await failing(breaker, 1)
        assert breaker.state is OPEN
        await trio.sleep(9.9)
        with pytest.raises(CircuitOpen):
            await breaker.ask("x")
        await trio.sleep(0.2)
        assert await breaker.ask("x") == "x"
        assert breaker.state is CLOSED


async def test_only_one_trial_at_a_time_and_a_cancelled_one_is_given_back(
    autojump_clock: Any,
) -> None:
    async with Checked("s", max_restarts=None) as system:
        breaker = CircuitBreaker(system.spawn(Doer), max_failures=1, reset_after=10)
        await failing(breaker, 1)
        await trio.sleep(10)
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(breaker.ask, nap(5), None)
                await trio.sleep(0.5)
                assert breaker.state is HALF_OPEN
                with pytest.raises(CircuitOpen):
                    await breaker.ask("x")
        assert breaker.state is HALF_OPEN
        assert await breaker.ask("x", timeout=20) == "x"
        assert breaker.state is CLOSED


async def test_the_late_result_of_an_earlier_call_changes_nothing(autojump_clock: Any) -> None:
    async with Checked("s", max_restarts=None) as system:
        slow, quick = system.spawn(Doer), system.spawn(Doer)
        breaker = CircuitBreaker(slow, max_failures=1, reset_after=10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(breaker.ask, nap(5), None)
            await trio.sleep(1)
            breaker.ref = quick
            await failing(breaker, 1)
            await trio.sleep(8)
            assert breaker.state is OPEN


async def test_which_errors_count(autojump_clock: Any) -> None:
    class Small(Recorder):
        mailbox = Mailbox(capacity=1)

    async with Checked("s", max_restarts=None) as system:
        ref = system.spawn(Doer)
        breaker = CircuitBreaker(ref, max_failures=1, failures=(AskTimeout,))
        await failing(breaker, 3)
        assert breaker.state is CLOSED
        with pytest.raises(AskTimeout):
            await breaker.ask(nap(5), timeout=1)
        assert breaker.state is OPEN

        small = system.spawn(Small)
        gate = trio.Event()
        breaker = CircuitBreaker(small, max_failures=1, reset_after=1)
        breaker.tell(gate)
        await trio.sleep(0.1)
        breaker.tell("fills it")
        with pytest.raises(MailboxFull):
            breaker.tell("no room")
        assert breaker.state is OPEN
        gate.set()
        await trio.sleep(1)
        breaker.tell("a trial")
        assert breaker.state is CLOSED


async def test_it_is_the_actors_ref_in_all_else(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer, name="doer")
        breaker = CircuitBreaker(CircuitBreaker(ref))
        assert (breaker.address, breaker.name) == (ref.address, "doer")
        assert await ref.ask(lambda actor: CircuitBreaker(actor.context.ref).state) is CLOSED
        with pytest.raises(ActorFailed) as caught:
            await ref.ask(lambda actor: breaker.ask("itself"))
        assert isinstance(caught.value.cause, AskCycle)
        assert breaker.state is CLOSED
        probe = Probe(system)
        probe.watch(breaker)
        breaker.stop()
        await breaker.stopped()
        assert (await probe.expect(Terminated)).ref is ref
        with pytest.raises(TypeError, match="wraps a ref"):
            CircuitBreaker("actor://s/doer")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"max_failures": 0}, {"reset_after": 0}, {"trials": 0}, {"max_failures": 1.5}]
)
async def test_nonsense_is_refused(options: Any) -> None:
    async with Checked("s") as system:
        with pytest.raises(ValueError, match=next(iter(options))):
            CircuitBreaker(system.spawn(Doer), **options)


def test_the_table_has_one_way_out_of_each_state_but_half_open() -> None:
    assert set(TRANSITIONS.values()) == set(CircuitState)
    assert [state for state, _ in TRANSITIONS] == [CLOSED, OPEN, HALF_OPEN, HALF_OPEN]
    assert len({event for _, event in TRANSITIONS}) == len(CircuitEvent)


@given(
    st.lists(st.tuples(st.sampled_from("acfg"), st.floats(0, 5), st.integers(0, 9)), max_size=60),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_whatever_happens_the_rules_hold(
    steps: list[tuple[str, float, int]], most: int, trials: int
) -> None:
    changes: list[tuple[CircuitState, CircuitState]] = []
    circuit = Circuit(most, 3.0, trials, lambda *states: changes.append(states))
    now, permits, opened = 0.0, [], 0.0
    for what, seconds, which in steps:
        now += seconds
        before = circuit.state
        if what == "a":
            admitted = circuit.admit(now)
            if isinstance(admitted, Permit):
                permits.append(admitted)
                assert before is not OPEN or now - opened >= 3.0
            else:
                assert admitted > 0
                assert circuit.state is not CLOSED
        elif permits:
            permit = permits.pop(which % len(permits))
            if what == "g":
                circuit.given_up(permit)
            elif what == "c":
                circuit.succeeded(permit, now)
            else:
                circuit.failed(permit, now)
        if circuit.state is OPEN and before is not OPEN:
            opened = now
        current = [permit for permit in permits if permit.period == circuit._period]
        if circuit.state is HALF_OPEN:
            assert len(current) == circuit._under_way <= trials
    allowed = {(before, after) for (before, _), after in TRANSITIONS.items()}
    assert set(changes) <= allowed
    for (_, first), (second, _) in itertools.pairwise(changes):
        assert first is second
