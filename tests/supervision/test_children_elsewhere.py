"""Supervisors have children on other nodes: the policy stays here, the child lives there."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import pytest
import tenacity
import trio
from trio.testing import MockClock

from actors import (
    ActorFailed,
    ActorRef,
    ActorSystem,
    Hashed,
    LeastLoaded,
    NoNode,
)
from actors import Escalate as EscalateDirective
from actors import Restart as RestartDirective
from actors import Resume as ResumeDirective
from actors import Stop as StopDirective
from supervision import (
    ChildLost,
    CountChildren,
    DynamicSupervisor,
    OneForAll,
    OneForOne,
    RestartChild,
    RestForOne,
    StartChild,
    StopChild,
    Strategy,
    Supervisor,
    WhichChildren,
    child,
)
from tests.transports.kit import Do, Get, Remote, Wires, cluster
from transports import Limits, Node
from transports.errors import RemoteFailure

LIMITS = Limits(lost_after=3.0)


class Worker(Remote):
    """A Remote whose life is written down: (its place, what)."""

    lives: ClassVar[list[tuple[str, str]]] = []
    refuses: ClassVar[bool] = False

    def __init__(self, label: str = "worker") -> None:
        super().__init__()
        self.label = label

    async def started(self) -> None:
        if Worker.refuses:
            raise ValueError("it does not start")
        self.lives.append((self.label, "started"))

    async def stopped(self) -> None:
        self.lives.append((self.label, "stopped"))


TAKES = {"b": [Worker], "c": [Worker]}


@pytest.fixture(autouse=True)
def no_lives() -> None:
    Worker.lives = []
    Worker.refuses = False


class Boss(Supervisor):
    """A supervisor of what it is given."""

    def __init__(self, *specs: Any, strategy: Strategy | None = None) -> None:
        self.specs = specs
        if strategy is not None:
            self.strategy = strategy

    def children(self) -> Any:
        return self.specs


async def refs(boss: ActorRef) -> list[Any]:
    return [info.ref for info in await boss.ask(WhichChildren())]


async def test_a_child_lives_on_another_node_and_is_listed(autojump_clock: MockClock) -> None:
    async with cluster("a", "b", "c", spawnable=TAKES) as (a, *_):
        await trio.sleep(1)
        boss = await a.start(
            Boss, child(Worker, "one", name="one", on="c"), child(Worker, on=LeastLoaded())
        )
        infos = await boss.ask(WhichChildren())
        assert [(info.name, info.state, info.restarts) for info in infos] == [
            ("one", "running", 0),
            ("worker", "running", 0),
        ]
        assert [info.ref.address.node for info in infos] == ["c", "b"]
        assert str(infos[0].ref).startswith("actor://c/spawned/one~a.")
        assert await infos[0].ref.ask(Do("sleep", 1)) == 1
        assert (await boss.ask(CountChildren())).active == 2
        assert Worker.lives == [("one", "started"), ("worker", "started")]
        boss.stop()
        await boss.stopped()
        # In reverse order of start, each before the next; and before the supervisor has stopped.
        assert Worker.lives[2:] == [("worker", "stopped"), ("one", "stopped")]


async def test_a_failure_there_is_decided_about_here(autojump_clock: MockClock) -> None:
    async with cluster("a", "b", spawnable=TAKES) as (a, b):
        strategy = OneForOne(
            max_restarts=2, within=60, backoff=tenacity.wait_fixed(5), decisions={}
        )
        boss = await a.start(functools.partial(Boss, strategy=strategy), child(Worker, on="b"))
        (first,) = await refs(boss)
        begin = trio.current_time()
        first.tell(Do("fail"))
        first.tell(Do("note", 1))
        await trio.sleep(1)
        (info,) = await boss.ask(WhichChildren())
        assert (info.ref, info.state) == (None, "not running")
        while (info := (await boss.ask(WhichChildren()))[0]).ref is None:
            await trio.sleep(0.1)
        assert 5 <= trio.current_time() - begin < 6
        assert info.restarts == 1
        assert info.ref is not first
        # A new actor: what was in the mailbox is a dead letter there.
        assert await info.ref.ask(Get()) == []
        assert [letter.message for letter in b.dead_letters.recent] == [Do("note", 1)]
        info.ref.tell(Do("fail"))
        await trio.sleep(6)
        (third,) = await refs(boss)
        third.tell(Do("fail"))
        await trio.sleep(1)
        # Too many: the supervisor failed and was restarted, and has a child again.
        (fourth,) = await refs(boss)
        assert await fourth.ask(Get()) == []
        assert [what for _, what in Worker.lives].count("started") == 4


@pytest.mark.parametrize(
    ("kind", "how", "again"),
    [
        ("permanent", "stop", True),
        ("transient", "stop", False),
        ("transient", "fail", True),
        ("transient", "lost", True),
        ("temporary", "fail", False),
        ("temporary", "lost", False),
        ("permanent", "lost", True),
    ],
)
async def test_kinds_apply_to_children_elsewhere(
    autojump_clock: MockClock, kind: Any, how: str, again: bool
) -> None:
    wires = Wires()
    async with cluster("a", "b", "c", wires=wires, limits=LIMITS, spawnable=TAKES) as (a, *_):
        await trio.sleep(1)
        boss = await a.start(Boss, child(Worker, kind=kind, on=LeastLoaded()))
        (first,) = await refs(boss)
        assert first.address.node == "b"
        if how == "lost":
            await wires.part("a", "b")
        else:
            first.tell(Do(how))
        await trio.sleep(8)
        found = await refs(boss)
        assert [ref is not None and ref is not first for ref in found] in (
            [[True]] if again else [[], [False]]
        )
        if again and how == "lost":
            assert found[0].address.node == "c"
        wires.heal("a", "b")
        await trio.sleep(5)
        living = [what for _, what in Worker.lives]
        assert living.count("started") - living.count("stopped") == again


async def test_a_lost_node_is_one_failure_however_many_children_it_had(
    autojump_clock: MockClock,
) -> None:
    seen: list[BaseException] = []

    class Sees(Boss):
        strategy = OneForOne(max_restarts=1, within=600)

        def child_failed(self, child: ActorRef, failure: Any) -> Any:
            seen.append(failure.exception)
            return super().child_failed(child, failure)

    wires = Wires()
    async with cluster("a", "b", "c", wires=wires, limits=LIMITS, spawnable=TAKES) as (a, *_):
        await trio.sleep(1)
        specs = [child(Worker, name=f"w{number}", on=LeastLoaded()) for number in range(8)]
        boss = await a.start(Sees, *specs)
        before = await refs(boss)
        assert [ref.address.node for ref in before] == ["b", "c"] * 4
        await wires.part("a", "b")
        await trio.sleep(8)
        after = await refs(boss)
        assert [ref.address.node for ref in after] == ["c"] * 8
        assert [new is old for new, old in zip(after, before, strict=True)] == [False, True] * 4
        assert {type(error) for error in seen} == {ChildLost}
        assert len(seen) == 4
        lost = seen[0]
        assert isinstance(lost, ChildLost)
        assert (lost.node, lost.ref, lost.why) == ("b", before[0], "it was out of reach for 3 s")


async def test_children_on_a_node_that_is_left_move_elsewhere(autojump_clock: MockClock) -> None:
    wires = Wires()
    async with cluster("a", "c", wires=wires, spawnable=TAKES) as (a, _):
        node = Node(wires.endpoint("b"), peers=["a", "c"], spawnable=[Worker])
        async with ActorSystem("b", transport=node):
            await trio.sleep(1)
            # One restart is enough for them all; and a transient child too has not ended by itself.
            strategy = OneForOne(max_restarts=1, within=600)
            specs = [
                child(Worker, name=f"w{number}", kind="transient", on=LeastLoaded())
                for number in range(4)
            ]
            boss = await a.start(functools.partial(Boss, *specs, strategy=strategy))
            assert [ref.address.node for ref in await refs(boss)] == ["b", "c"] * 2
        await trio.sleep(1)
        assert [ref.address.node for ref in await refs(boss)] == ["c"] * 4
        assert [what for _, what in Worker.lives].count("stopped") == 2


async def test_while_no_node_takes_it_a_child_waits_and_uses_up_no_restarts(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires, limits=LIMITS, spawnable=TAKES) as (a, _):
        strategy = OneForOne(max_restarts=1, within=6000)
        boss = await a.start(
            functools.partial(Boss, strategy=strategy),
            child(Worker, on="b"),
            child(Remote, name="here"),
        )
        await wires.part("a", "b")
        await trio.sleep(600)
        there, here = await boss.ask(WhichChildren())
        assert (there.ref, there.state) == (None, "waiting for a node")
        # Meanwhile the supervisor does its work.
        assert here.ref is not None
        assert await here.ref.ask(Get()) == []
        wires.heal("a", "b")
        await trio.sleep(10)
        there, _ = await boss.ask(WhichChildren())
        assert there.ref is not None
        assert await there.ref.ask(Get()) == []
        await boss.ask(StopChild("worker"))
        assert [info.state for info in await boss.ask(WhichChildren())] == [
            "not running",
            "running",
        ]
        again = await boss.ask(RestartChild("worker"))
        assert await again.ask(Get()) == []


async def test_the_first_start_waits_for_a_node_too(autojump_clock: MockClock) -> None:
    wires = Wires()
    async with cluster("a", wires=wires) as (a,):
        boss = a.spawn(Boss, child(Worker, on=Hashed("x")))
        await trio.sleep(1000)
        node = Node(wires.endpoint("b"), peers=["a"], spawnable=[Worker])
        async with ActorSystem("b", transport=node):
            (ref,) = await refs(boss)
            assert ref.address.node == "b"
            boss.stop()
            await boss.stopped()


async def test_the_wait_for_a_node_may_be_bounded(autojump_clock: MockClock) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires, limits=LIMITS, spawnable=TAKES) as (a, _):
        with pytest.raises(NoNode):
            await a.start(Boss, child(Worker, on="z", start_within=20.0))
        strategy = OneForOne(max_restarts=2, within=6000)
        boss = await a.start(
            functools.partial(Boss, strategy=strategy), child(Worker, on="b", start_within=20.0)
        )
        begin = trio.current_time()
        await wires.part("a", "b")
        states: list[str] = []
        while a._failures == [] and trio.current_time() < begin + 200:
            await trio.sleep(1)
            try:
                (info,) = await boss.ask(WhichChildren(), timeout=1)
            except Exception:
                break
            states.append(info.state)
        # Lost at 3 s: that is one restart; then the start takes too long, twice.
        assert 40 < trio.current_time() - begin < 50
        assert states.count("waiting for a node") > 30
        wires.heal("a", "b")
        (ref,) = await boss.ask(WhichChildren(), timeout=100)
        assert ref.ref is not None


@pytest.mark.parametrize("strategy", [OneForAll(), RestForOne()])
async def test_siblings_restart_with_a_child_elsewhere(
    autojump_clock: MockClock, strategy: Strategy
) -> None:
    async with cluster("a", "b", "c", spawnable={**TAKES, "a": [Worker]}) as (a, *_):
        boss = await a.start(
            functools.partial(Boss, strategy=strategy),
            child(Worker, "first", name="first", on="a"),
            child(Worker, "second", name="second", on="b"),
            child(Worker, "third", name="third"),
            child(Worker, "fourth", name="fourth", on="c"),
        )
        before = await refs(boss)
        del Worker.lives[:]
        before[1].tell(Do("fail"))
        await trio.sleep(5)
        after = await refs(boss)
        moved = [new is not old for new, old in zip(after, before, strict=True)]
        everyone = isinstance(strategy, OneForAll)
        # The third is of this node: it is the same actor, in its next incarnation.
        assert moved == [everyone, True, False, True]
        assert [ref.address.node for ref in after] == ["a", "b", "a", "c"]
        assert after[2].incarnation == 2
        expected = [("second", "stopped"), ("fourth", "stopped")]
        expected += [("first", "stopped"), ("first", "started")] if everyone else []
        expected += [("second", "started"), ("third", "started"), ("fourth", "started")]
        assert Worker.lives == expected


async def test_a_child_of_this_node_takes_those_elsewhere_with_it(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b", spawnable=TAKES) as (a, _):
        boss = await a.start(
            functools.partial(Boss, strategy=OneForAll()),
            child(Remote, name="here"),
            child(Worker, name="there", on="b"),
        )
        here, there = await refs(boss)
        here.tell(Do("fail"))
        await trio.sleep(1)
        again, new = await refs(boss)
        assert again is here
        assert new is not there
        assert Worker.lives == [("worker", what) for what in ("started", "stopped", "started")]


async def test_a_supervisor_that_fails_takes_its_children_elsewhere_with_it(
    autojump_clock: MockClock,
) -> None:
    class Fragile(Boss):
        async def receive(self, message: Any) -> Any:
            if isinstance(message, Do):
                raise ValueError("as told")
            return await super().receive(message)

    async with cluster("a", "b", spawnable=TAKES) as (a, _):
        boss = await a.start(Fragile, child(Worker, on="b"))
        (first,) = await refs(boss)
        boss.tell(Do("fail"))
        (second,) = await refs(boss)
        assert first is not second
        assert Worker.lives == [("worker", what) for what in ("started", "stopped", "started")]


async def test_a_start_that_fails_there_is_tried_again_and_counted(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b", spawnable=TAKES) as (a, _):
        with pytest.raises(RemoteFailure, match="it does not start") as caught:
            Worker.refuses = True
            await a.start(Boss, child(Worker, on="b"))
        assert "a child of actor://a/boss" in "".join(caught.value.__notes__)
        Worker.refuses = False
        strategy = OneForOne(max_restarts=3, backoff=tenacity.wait_fixed(2))
        boss = await a.start(functools.partial(Boss, strategy=strategy), child(Worker, on="b"))
        Worker.refuses = True
        (ref,) = await refs(boss)
        ref.tell(Do("fail"))
        await trio.sleep(5)
        Worker.refuses = False
        await trio.sleep(2)
        (again,) = await refs(boss)
        assert again is not None
        assert await again.ask(Get()) == []


async def test_decisions_by_exception_hold_for_children_elsewhere(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", "b", "c", wires=wires, limits=LIMITS, spawnable=TAKES) as (a, *_):
        await trio.sleep(1)
        decisions = {RemoteFailure: StopDirective(), ChildLost: RestartDirective(after=5.0)}
        boss = await a.start(
            functools.partial(Boss, strategy=OneForOne(decisions=decisions)),
            child(Worker, name="fails", on="b"),
            child(Worker, name="lost", on=LeastLoaded()),
        )
        fails, lost = await refs(boss)
        assert lost.address.node == "c"
        fails.tell(Do("fail"))
        await wires.part("a", "c")
        await trio.sleep(5)
        assert [ref is None for ref in await refs(boss)] == [True, True]
        await trio.sleep(5)
        found = await refs(boss)
        assert found[0] is None
        assert found[1].address.node == "b"


async def test_a_dynamic_supervisor_starts_children_elsewhere(autojump_clock: MockClock) -> None:
    async with cluster("a", "b", spawnable=TAKES) as (a, _):
        dynamic = a.spawn(DynamicSupervisor)
        await trio.sleep(1)
        one = await dynamic.ask(StartChild(child(Worker, "one", on="b")))
        two = await dynamic.ask(StartChild(child(Worker, "two", on="b", name="two")))
        assert await one.ask(Get()) == await two.ask(Get()) == []
        with pytest.raises(ActorFailed) as caught:
            await dynamic.ask(StartChild(child(Worker, on="z")))
        assert isinstance(caught.value.cause, NoNode)
        await dynamic.ask(StopChild("two"))
        assert [info.ref for info in await dynamic.ask(WhichChildren())] == [one]
        one.stop()
        await one.stopped()
        await trio.sleep(1)
        (info,) = await dynamic.ask(WhichChildren())
        assert info.ref not in (None, one)


async def test_a_supervisor_itself_may_live_elsewhere(autojump_clock: MockClock) -> None:
    class There(Boss):
        def __init__(self) -> None:
            super().__init__(child(Worker, "below"))

    async with cluster("a", "b", spawnable={"b": [There]}) as (a, b):
        boss = await a.start(Boss, child(There, on="b"))
        (info,) = await boss.ask(WhichChildren())
        assert info.supervisor
        assert info.ref is not None
        below = b.at(f"{info.ref}/worker")
        assert await below.ask(Get()) == []
        boss.stop()
        await boss.stopped()
        assert Worker.lives == [("below", "started"), ("below", "stopped")]


async def test_significant_children_elsewhere_count_for_the_shutdown(
    autojump_clock: MockClock,
) -> None:
    class Job(Boss):
        auto_shutdown = "all_significant"

    async with cluster("a", "b", spawnable=TAKES) as (a, _):
        specs = [
            child(Worker, name=name, kind="transient", significant=True, on="b")
            for name in ("one", "two")
        ]
        boss = await a.start(Job, *specs)
        one, two = await refs(boss)
        one.stop()
        await trio.sleep(1)
        assert len(await refs(boss)) == 2
        two.stop()
        await boss.stopped()


async def test_shutdown_terms_hold_there(autojump_clock: MockClock) -> None:
    async with cluster("a", "b", spawnable=TAKES) as (a, _):
        boss = await a.start(
            Boss,
            child(Worker, "brutal", name="brutal", shutdown="brutal", on="b"),
            child(Worker, "quick", name="quick", shutdown=0.5, on="b"),
        )
        for ref in await refs(boss):
            ref.tell(Do("sleep", 100))
        await trio.sleep(0.1)
        begin = trio.current_time()
        boss.stop()
        await boss.stopped()
        assert 0.49 < trio.current_time() - begin < 1.5
        # The brutal one has no `stopped()`.
        assert Worker.lives[2:] == [("quick", "stopped")]


def test_a_specification_says_where() -> None:
    assert child(Worker, on="b").on == "b"
    assert child(Worker).on is None
    with pytest.raises(TypeError, match="on is the name of a node"):
        child(Worker, on=3)  # type: ignore[arg-type]


async def test_without_a_transport_there_is_no_node(autojump_clock: MockClock) -> None:
    async with ActorSystem("alone") as system:
        with pytest.raises(NoNode, match="no transport"):
            await system.start(Boss, child(Worker, on="b"))


@pytest.mark.parametrize("out_of_reach", [False, True])
async def test_leaving_a_system_does_not_wait_for_children_elsewhere_for_longer_than_it_may(
    autojump_clock: MockClock, out_of_reach: bool
) -> None:
    wires = Wires()
    async with cluster("b", wires=wires, spawnable=TAKES):
        node = Node(wires.endpoint("a"), peers=["b"])
        async with ActorSystem("a", transport=node, stop_within=1.0) as a:
            boss = await a.start(Boss, child(Worker, shutdown=50.0, on="b"))
            (ref,) = await refs(boss)
            ref.tell(Do("sleep", 1000))
            await trio.sleep(0.5)
            if out_of_reach:
                await wires.part("a", "b")
            begin = trio.current_time()
        assert 1.0 <= trio.current_time() - begin < 5.0
        assert a.ledger.missing == 0
        await trio.sleep(20)
        # There it was killed, at once or when its node had lost this one; its hook has run.
        assert Worker.lives[-1] == ("worker", "stopped")


async def test_a_system_that_fails_leaves_nobody_elsewhere(autojump_clock: MockClock) -> None:
    wires = Wires()
    async with cluster("b", wires=wires, spawnable=TAKES):
        with pytest.raises(KeyError):
            async with ActorSystem("a", transport=Node(wires.endpoint("a"), peers=["b"])) as a:
                await a.start(Boss, child(Worker, on="b"))
                await a.start(Worker, "alone", on="b")
                raise KeyError
        await trio.sleep(1)
        assert sorted(Worker.lives[2:]) == [("alone", "stopped"), ("worker", "stopped")]


async def test_a_child_that_is_stopped_while_it_waits_for_a_node_waits_no_more(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires, limits=LIMITS, spawnable=TAKES) as (a, _):
        boss = await a.start(Boss, child(Worker, on="b"))
        await wires.part("a", "b")
        await trio.sleep(10)
        await boss.ask(StopChild("worker"))
        with pytest.raises(ActorFailed) as caught:
            await boss.ask(RestartChild("worker"))
        assert isinstance(caught.value.cause, NoNode)
        wires.heal("a", "b")
        await trio.sleep(10)
        (info,) = await boss.ask(WhichChildren())
        assert (info.ref, info.state) == (None, "not running")
        boss.stop()
        await boss.stopped()


async def test_siblings_behind_a_child_that_waits_for_a_node_wait_with_it(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires, limits=LIMITS, spawnable=TAKES) as (a, _):
        boss = await a.start(
            functools.partial(Boss, strategy=RestForOne()),
            child(Remote, name="before"),
            child(Worker, name="there", on="b"),
            child(Remote, name="behind"),
        )
        before, _there, behind = await refs(boss)
        behind.tell(Do("note", 1))
        assert await behind.ask(Get()) == [1]
        await wires.part("a", "b")
        await trio.sleep(10)
        states = [info.state for info in await boss.ask(WhichChildren())]
        assert states == ["running", "waiting for a node", "failed"]
        behind.tell(Do("note", 2))
        wires.heal("a", "b")
        await trio.sleep(10)
        # Its mailbox was kept: it is of this node.
        assert await behind.ask(Get()) == [2]
        assert before.incarnation == 1


async def test_a_child_elsewhere_whose_failure_was_escalated_is_there_again_after_a_resume(
    autojump_clock: MockClock,
) -> None:
    class Top(Supervisor):
        strategy = OneForOne(decisions={RemoteFailure: ResumeDirective()})

        def children(self) -> Any:
            escalates = OneForOne(decisions={RemoteFailure: EscalateDirective()})
            return [child(functools.partial(Boss, strategy=escalates), child(Worker, on="b"))]

    async with cluster("a", "b", spawnable=TAKES) as (a, _):
        await a.start(Top, name="top")
        boss = a.at("actor://a/top/boss")
        (first,) = await refs(boss)
        first.tell(Do("fail"))
        await trio.sleep(1)
        (second,) = await refs(boss)
        assert second not in (None, first)
        assert boss.incarnation == 1  # type: ignore[attr-defined]
