"""Random worlds of actors: conservation, order, one handler at a time, and no hang, in each.

`TROUPER_SEED=7 TROUPER_EXAMPLES=2000 python -m pytest tests/properties` looks at others, and at
more of them. A failure prints the world, as small as it could be made, and how to see it again.
"""

import os
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st

from tests.properties.worlds import Kind, Plan, Script, run_world

SEED = int(os.environ.get("TROUPER_SEED", "0"))
EXAMPLES = int(os.environ.get("TROUPER_EXAMPLES", "100"))

Steps = st.SearchStrategy[tuple[Any, ...]]

WHO = st.integers(0, 7)
SHORT = st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.25, 1.0])
LIMIT = st.sampled_from([0.0, 0.01, 0.3, 1.0, 30.0])


def steps_at_once(inner: st.SearchStrategy[Script]) -> Steps:
    """Steps that never wait, as outside and in every handler."""
    return st.one_of(
        st.tuples(st.just("tell"), WHO, inner),
        st.tuples(st.just("tell"), WHO, inner),
        st.tuples(st.just("tell"), WHO, inner),
        st.tuples(st.just("stop"), WHO),
        st.tuples(st.just("spawn"), WHO),
        st.tuples(st.just("ledger")),
    )


def steps_of_actors(inner: st.SearchStrategy[Script]) -> Steps:
    """Steps that only an actor can do, in any handler or hook."""
    return st.one_of(
        st.tuples(st.sampled_from(["stash", "unstash", "stop_self", "cancel_timers"])),
        st.tuples(st.sampled_from(["stash", "unstash"])),
        st.tuples(st.sampled_from(["defer", "reply", "reply", "reply_fail"])),
        st.tuples(st.just("become"), st.booleans()),
        st.tuples(st.sampled_from(["unbecome", "unstash"])),
        st.tuples(st.sampled_from(["watch", "unwatch", "forward"]), WHO),
        st.tuples(st.just("after"), SHORT, inner),
        st.tuples(st.just("every"), st.sampled_from([0.3, 0.7, 2.0]), inner),
        st.tuples(st.just("spawn_named"), WHO),
    )


def failures() -> Steps:
    return st.tuples(st.sampled_from(["fail", "fail", "fail in a group"]))


def steps_that_wait(inner: st.SearchStrategy[Script], some: st.SearchStrategy[Script]) -> Steps:
    return st.one_of(
        st.tuples(st.just("sleep"), SHORT),
        st.tuples(st.just("checkpoint")),
        st.tuples(st.sampled_from(["shield", "swallow"]), SHORT),
        st.tuples(st.just("send"), WHO, inner, LIMIT),
        st.tuples(st.just("ask"), WHO, inner, SHORT),
        st.tuples(st.just("ask"), WHO, inner, SHORT),
        st.tuples(st.just("ask"), WHO, inner, SHORT),
        st.tuples(st.just("stopped"), WHO, SHORT),
        st.tuples(st.just("start"), WHO),
        st.tuples(st.just("limited"), SHORT, some),
        st.tuples(st.just("at the end"), some, some),
        st.tuples(st.just("together"), st.lists(some, max_size=3).map(tuple)),
    )


NOTHING: tuple[Any, ...] = ("nothing",)


def script(step: Steps, most: int, least: int = 0) -> st.SearchStrategy[Script]:
    """Up to `most` steps; at least `least` are drawn, and where one fails they shrink away."""
    steps = st.lists(st.one_of(st.just(NOTHING), step), min_size=least, max_size=most)
    return steps.map(lambda drawn: tuple(each for each in drawn if each != NOTHING))


def handlers() -> st.SearchStrategy[Script]:
    """What messages ask handlers to do: three messages deep."""
    made: st.SearchStrategy[Script] = st.just(())
    for most in (2, 3, 4):
        simple = st.one_of(steps_at_once(made), steps_of_actors(made), failures())
        made = script(st.one_of(simple, steps_that_wait(made, script(simple, 2))), most, 1)
    return made


HANDLERS = handlers()
# A hook or constructor that failed each time would be restarted for ever: see Kind.fails.
INIT = script(st.one_of(steps_at_once(HANDLERS), steps_of_actors(HANDLERS)), 2)
HOOK = script(
    st.one_of(
        steps_at_once(st.just(())),
        steps_of_actors(st.just(())),
        steps_that_wait(st.just(()), st.just((("sleep", 0.1),))),
    ),
    2,
)
OUTSIDE = script(
    st.one_of(
        steps_at_once(HANDLERS),
        steps_that_wait(HANDLERS, script(steps_at_once(HANDLERS), 2)),
    ),
    16,
    6,
)

KINDS = st.builds(
    Kind,
    waits=st.booleans(),
    capacity=st.sampled_from([10_000, 1, 2, 3, 70, None]),
    overflow=st.sampled_from(["reject", "drop_oldest", "drop_newest"]),
    cancel_abandoned=st.booleans(),
    shutdown=st.sampled_from([2.0, 0.0, 0.2]),
    fails=st.lists(
        st.tuples(st.sampled_from(["init", "started", "restarting", "stopped"]), st.integers(1, 3)),
        max_size=2,
    ).map(tuple),
    init=st.one_of(st.just(()), INIT),
    started=st.one_of(st.none(), HOOK),
    stopped=st.one_of(st.none(), HOOK),
    restarting=st.one_of(st.none(), HOOK),
    directives=st.lists(
        st.sampled_from(["escalate", "restart", "restart later", "stop", "resume", "raise"]),
        max_size=3,
    ).map(tuple),
)

PLANS = st.builds(
    Plan,
    kinds=st.lists(KINDS, min_size=1, max_size=4).map(tuple),
    top=st.lists(WHO, min_size=2, max_size=5).map(tuple),
    tasks=st.lists(OUTSIDE, min_size=2, max_size=4).map(tuple),
    ends=st.sampled_from(["normally", "by an error", "cancelled", "cancelled twice"]),
    max_restarts=st.sampled_from([3, 0, None]),
    stop_within=st.sampled_from([5.0, 0.0, 0.5]),
    slice_messages=st.sampled_from([8, 1, 3, 100]),
    schedule=st.integers(0, 1_000),
)


# All its examples are one test: on a machine that does other work they take their time.
@pytest.mark.timeout(240)
@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(PLANS)
def test_every_random_world_keeps_its_messages_its_order_and_its_promises(plan: Plan) -> None:
    note(f"again: TROUPER_SEED={SEED} TROUPER_EXAMPLES={EXAMPLES} python -m pytest {__file__}")
    note("alone: run_world(" + attrs.evolve(plan).__repr__() + ")")
    run_world(plan)
