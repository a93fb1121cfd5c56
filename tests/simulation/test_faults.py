"""Faults: their identities, their rates, and that each kind does what it says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.apps_of_clusters import Stamps
from tests.simulation.apps_of_routing import Errands
from tests.simulation.counting import Counting, Diary
from transports.testing import Application, Cluster, Fault, Faults, Outcome, make_simulation
from transports.testing.faults import ENGINE_FAULTS, FRAME_FAULTS, KINDS, STORE_FAULTS

MOMENTS = st.floats(0, 1e6).map(lambda value: round(value, 4))
NUMBERED = (*FRAME_FAULTS, "skew", "raise", *STORE_FAULTS)
OF_STORES = (*STORE_FAULTS, *ENGINE_FAULTS)
FAULTS = st.builds(
    lambda kind, where, what, number, **more: Fault(
        kind, where, what if kind in NUMBERED else "", number if kind in NUMBERED else 0, **more
    ),
    st.sampled_from(KINDS),
    st.sampled_from(["n1->n2", "n1<->client", "n2", "actor://n1/bank/a", "actor://n2/§1"]),
    st.sampled_from(["", "DATA", "ACK", "receive"]),
    st.integers(1, 10**9),
    at=MOMENTS,
    lasts=MOMENTS.filter(bool),
    by=st.floats(-1e6, 1e6).map(lambda value: round(value, 3)),
    rate=st.floats(0.5, 2).map(lambda value: round(value, 4)),
)


@given(FAULTS)
def test_the_text_of_a_fault_is_its_identity(fault: Fault) -> None:
    assert Fault.parse(str(fault)) == fault


@pytest.mark.parametrize(
    "text",
    [
        "",
        "drop",
        "drop n1->n2 #x",
        "explode n1",
        "crash n2 at noon",
        "crash n2 at 1 at 2",
        "drop n1->n2 DATA #1; rm",
        "drop n1->n2",
        "drop n1->n2 at 3 for 5",
        "raise actor://n1/bank",
        "crash n2 #1",
        "crash n2",
        "crash n2 at 3",
        "part n1<->n2",
        "slow n1->n2 at -1 for 3 by 1",
    ],
)
def test_a_text_that_is_no_fault_is_refused_and_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"{re.escape(repr(text))}|explode"):
        Fault.parse(text)


@pytest.mark.parametrize("lasts", [0, -1, float("inf"), float("nan")])
def test_what_lasts_no_time_is_no_crash(lasts: float) -> None:
    with pytest.raises(ValueError, match=r"crash lasts .* as in 'crash n2 at 9.1 for 2.5'"):
        Fault("crash", "n2", at=3, lasts=lasts)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_is_from_0_to_1(rate: float) -> None:
    with pytest.raises(ValueError, match="drop is a rate from 0 to 1"):
        Faults(drop=rate)


def test_a_swarm_turns_each_kind_on_in_about_half_of_the_seeds() -> None:
    faults = Faults(double=0.1)
    seeds = 400
    for kind in KINDS:
        on = sum(faults.rates(seed)[kind] > 0 for seed in range(seeds))
        assert seeds * 0.4 < on < seeds * 0.6, kind
    always = Faults(swarm=False).rates(1)
    assert [kind for kind in KINDS if not always[kind]] == ["double"]
    assert not any(Faults.none().rates(1).values())


def only(kind: str, rate: float, seed: int = 1) -> Outcome:
    name = {"raise": "fail"}.get(kind, kind.replace("-", "_"))
    # Those of a store befall what has one.
    app = Stamps if kind in OF_STORES else Counting
    simulation = make_simulation(app, seed=seed, faults=Faults.only(**{name: rate}))
    outcome = simulation.run()
    assert outcome.error is None, f"{outcome.error}; replay it: {simulation.command()}"
    return outcome


@pytest.mark.parametrize("kind", [each for each in KINDS if each != "store-expiry"])
def test_each_kind_of_fault_fires_alone_and_the_cluster_recovers(kind: str) -> None:
    outcome = only(kind, 0.5 if kind not in FRAME_FAULTS else 0.1)
    assert {fault.kind for fault in outcome.fired} == {kind}
    assert outcome.counts[kind] == len(outcome.fired) >= 2


def test_keys_expire_late_where_nodes_crash() -> None:
    faults = Faults.only(store_expiry=1.0, crash=0.5)
    outcome = make_simulation(Stamps, seed=1, faults=faults).run()
    assert outcome.error is None
    assert {fault.kind for fault in outcome.fired} == {"store-expiry", "crash"}


def test_by_default_every_kind_fires_in_some_seed() -> None:
    fired = {
        fault.kind
        for seed in range(20)
        for fault in make_simulation(Counting, seed=seed).run().fired
    }
    assert fired == set(KINDS) - {"double", *OF_STORES}


def test_no_faults_fire_on_a_network_that_is_well() -> None:
    for faults in (Faults.none(), []):
        outcome = make_simulation(Counting, faults=faults).run()
        assert (outcome.fired, outcome.error) == ((), None)
        assert outcome.counts == {"counted": 39}


# -- what each kind does to a frame


def of_frame(fault: str) -> tuple[list[tuple[str, str, float]], Outcome]:
    """The events of the frame that a fault befell: kind, text, time."""
    outcome = make_simulation(Counting, nodes=1, faults=[fault]).run()
    assert outcome.error is None
    assert [str(each) for each in outcome.fired] == [fault]
    (number,) = {e.frame for e in outcome.events if e.kind == "sent" and e.fault == fault}
    found = [(e.kind, e.text, e.time) for e in outcome.events if e.frame == number]
    return found, outcome


def test_a_dropped_frame_never_arrives() -> None:
    events, outcome = of_frame("drop client->n1 DATA #7")
    assert [kind for kind, _, _ in events] == ["sent"]
    assert outcome.messages > ROUNDS_HANDLED


def test_a_duplicated_frame_arrives_twice() -> None:
    events, _ = of_frame("duplicate client->n1 DATA #7")
    assert [kind for kind, _, _ in events] == ["sent", "arrived", "arrived"]


def test_a_delayed_frame_is_late_and_so_is_what_is_behind_it() -> None:
    events, outcome = of_frame("delay client->n1 DATA #7 by 0.9")
    sent, arrived = (time for _, _, time in events)
    assert arrived == pytest.approx(sent + 0.901)
    behind = [
        e.time
        for e in outcome.events
        if e.kind == "arrived" and e.node == "client" and sent < e.time < arrived
    ]
    assert behind == []


def test_a_reordered_frame_is_overtaken() -> None:
    events, outcome = of_frame("reorder client->n1 DATA #7 by 0.9")
    sent, arrived = (time for _, _, time in events)
    assert arrived == pytest.approx(sent + 0.901)
    overtaking = [
        e.text
        for e in outcome.events
        if e.kind == "arrived" and e.node == "client" and sent < e.time < arrived
    ]
    assert overtaking


def test_a_corrupted_frame_breaks_its_connection_and_reaches_no_handler() -> None:
    events, outcome = of_frame("corrupt client->n1 DATA #7 by 100")
    assert [kind for kind, _, _ in events] == ["sent", "arrived"]
    # The session goes on over a new connection.
    welcomes = [e.time for e in outcome.events if e.kind == "sent" and "WELCOME" in e.text]
    broken, again = events[1][2], [time for time in welcomes if time > events[1][2]]
    assert again
    assert again[0] - broken < 1
    assert outcome.messages > ROUNDS_HANDLED


ROUNDS_HANDLED = 20


# -- what befalls nodes and links, for a while


def diary(*faults: str, nodes: int = 2) -> tuple[Diary, Outcome]:
    made: list[Diary] = []

    def recipe() -> Diary:
        made.append(Diary())
        return made[-1]

    outcome = make_simulation(recipe, nodes=nodes, faults=faults).run()
    assert outcome.error is None, outcome.error
    return made[-1], outcome


def test_a_crashed_node_runs_no_cleanup_and_starts_again() -> None:
    app, outcome = diary("crash n1 at 5.7 for 3")
    assert [fault.kind for fault in outcome.fired] == ["crash"]
    # Its handler slept from 5.0 on: it neither ends nor is cancelled; no hook runs.
    assert not [t for t in app.moments("n1", "slept") if 5.5 < t < 10]
    assert 5.0 in [round(t, 6) for t in app.moments("n1", "tick")]
    # What is left of it ends with the run, when nothing counts any more.
    assert min(app.moments("n1", "stopped")) > 20
    starts = [
        (number, now) for name, number, what, now, _ in app.lines if (name, what) == ("n1", "start")
    ]
    assert starts == [(1, 0.0), (2, pytest.approx(8.7))]


def test_a_crash_in_the_middle_of_a_handler_runs_no_finally() -> None:
    app, _ = diary("crash n1 at 5.2 for 3")
    ticks = [t for t in app.moments("n1", "tick") if t < 5.2]
    slept = [t for t in app.moments("n1", "slept") if t < 8]
    assert len(slept) == len(ticks) - 1


def test_a_paused_node_stands_still_and_then_goes_on() -> None:
    app, outcome = diary("pause n1 at 5.7 for 4")
    assert [fault.kind for fault in outcome.fired] == ["pause"]
    assert not [now for name, _, _, now, _ in app.lines if name == "n1" and 5.7 < now < 9.7]
    assert [t for t in app.moments("n1", "tick") if t >= 9.7]
    assert {number for name, number, _, _, _ in app.lines if name == "n1"} == {1}
    # The other node does not wait for it.
    assert len([t for t in app.moments("n2", "tick") if 5.7 < t < 9.7]) >= 3


def test_a_node_paused_twice_goes_on_after_both() -> None:
    app, _ = diary("pause n1 at 5.7 for 4", "pause n1 at 7 for 5")
    assert not [now for name, _, _, now, _ in app.lines if name == "n1" and 5.7 < now < 12.0]
    assert [t for t in app.moments("n1", "tick") if t >= 12.0]


def test_a_skewed_clock_is_ahead_and_runs_at_another_rate() -> None:
    app, _ = diary("skew n1 #1 by 50 rate 1.01")
    mine = [(now, own) for name, _, _, now, own in app.lines if name == "n1"]
    other = [(now, own) for name, _, _, now, own in app.lines if name == "n2"]
    (first, own_first), (last, own_last) = mine[0], mine[-1]
    assert own_last - own_first == pytest.approx(1.01 * (last - first))
    assert own_first - other[0][1] > 40
    # A timer of one second rings by the node's own clock.
    ticks = app.moments("n1", "tick")
    assert ticks[1] - ticks[0] == pytest.approx(1 / 1.01)


@pytest.mark.parametrize(
    ("fault", "lost"),
    [
        ("part n1<->n2 at 4 for 6", {"n1->n2", "n2->n1"}),
        ("part-one-way n1->n2 at 4 for 6", {"n1->n2"}),
    ],
)
def test_nothing_passes_a_parted_link(fault: str, lost: set[str]) -> None:
    _, outcome = diary(fault)
    dropped = {
        f"{e.node}->{e.peer}" for e in outcome.events if e.kind == "sent" and e.fault == fault
    }
    assert dropped <= lost
    arrived = {
        f"{e.node}->{e.peer}" for e in outcome.events if e.kind == "arrived" and 4.1 < e.time < 9.9
    }
    assert not arrived & lost


def test_everything_is_late_on_a_slow_link() -> None:
    fault = "slow client->n1 at 2 for 10 by 0.3"
    outcome = make_simulation(Counting, nodes=1, faults=[fault]).run()
    sent = {e.frame: e.time for e in outcome.events if e.kind == "sent"}
    late = [
        e.time - sent[e.frame]
        for e in outcome.events
        if e.kind == "arrived" and e.node == "client" and sent[e.frame] > 2.0 and e.time < 9
    ]
    assert late
    assert min(late) == pytest.approx(0.301)


def test_an_actor_fails_at_the_step_that_is_listed() -> None:
    faults = ["raise actor://n1/counter receive #2", "raise actor://n1/counter reply #3"]
    outcome = make_simulation(Counting, nodes=1, faults=faults).run()
    assert [str(fault) for fault in outcome.fired] == faults
    failures = [e.text for e in outcome.events if e.kind == "actor" and "failed" in e.text]
    assert failures == ["counter failed: SimulatedFault"] * 2


def test_a_hook_fails_at_the_step_that_is_listed() -> None:
    faults = ["raise actor://n1/guard/runner started #1"]
    outcome = make_simulation(Errands, nodes=1, faults=faults).run()
    assert outcome.error is None
    assert [str(fault) for fault in outcome.fired] == faults
    told = [e.text for e in outcome.events if e.kind == "actor" and "runner" in e.text]
    assert told[:3] == [
        "guard/runner started()",
        "guard/runner failed: SimulatedFault",
        "guard/runner started()",
    ]


def test_a_fault_on_something_that_is_not_there_does_not_fire() -> None:
    faults = [
        "crash n9 at 1.0 for 1.0",
        "drop n7->n8 DATA #1",
        "part n1<->n9 at 1 for 5",
        "slow n1->n9 at 1 for 5 by 0.3",
        "raise actor://n1/nobody receive #1",
    ]
    outcome = make_simulation(Counting, faults=faults).run()
    assert outcome.fired == ()


def test_methods_that_are_async_where_they_must_not_be_are_refused_at_the_class() -> None:
    with pytest.raises(TypeError, match="Eager.work must be `async def work`"):

        class Eager(Application):
            def work(self, cluster: Cluster) -> None:  # type: ignore[override]
                pass

    with pytest.raises(TypeError, match="Lazy.check must be `def check`, without async"):

        class Lazy(Application):
            async def check(self, cluster: Cluster) -> None:  # type: ignore[override]
                pass
