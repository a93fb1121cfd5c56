"""Actors are spawned on other nodes: by name, started, watched, stopped, and refused."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock

from actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    ActorSystem,
    Candidate,
    ExitReason,
    Failure,
    Hashed,
    InvalidAddress,
    LeastLoaded,
    NameTaken,
    NodeDown,
    NoNode,
    NotAnActor,
    Placement,
    Request,
    Terminated,
    message,
)
from tests.transports.kit import Do, Get, Remote, Wires, cluster
from transports import NotEncodable
from transports.errors import RemoteFailure
from transports.nodes.node import Node


@message(name="remote_spawn.Ended")
class HaveEnded(Request[list[str]]):
    """Asks a Watcher for what it has heard."""


class Watcher(Actor):
    """Notes the ends of what it is told to watch."""

    def __init__(self, notices: list[tuple[str, Any]]) -> None:
        self.notices = notices

    def receive(self, message: Any) -> None:
        if isinstance(message, Terminated):
            self.notices.append((message.ref.name, message.reason))
        else:
            self.context.watch(message)


class Counter(Remote):
    """A Remote that begins with some numbers, and may refuse to."""

    living: ClassVar[list[str]] = []

    def __init__(self, *numbers: float, plus: float = 0, raises: str = "") -> None:
        if raises == "constructor":
            raise ValueError("no such counter")
        super().__init__([number + plus for number in numbers])
        self.raises = raises

    async def started(self) -> None:
        if self.raises == "slow":
            await trio.sleep(100)
        if self.raises == "started":
            await trio.sleep(1)
            raise ValueError("it does not start")
        self.living.append(self.context.ref.name)

    async def stopped(self) -> None:
        self.living.remove(self.context.ref.name)


TAKES = {"b": [Counter], "c": [Counter]}


@pytest.fixture(autouse=True)
def nobody_lives() -> Any:
    Counter.living = []
    yield
    assert Counter.living == []


async def test_an_actor_is_started_on_another_node_with_its_arguments(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b", spawnable=TAKES) as (a, b):
        ref = await a.start(Counter, 1, 2.5, name="one", on="b")
        assert str(ref.address) == "actor://b/spawned/one"
        assert await ref.ask(Get()) == [1, 2.5]
        assert ref is a.at("actor://b/spawned/one")
        assert await b.at(ref.address).ask(Get()) == [1, 2.5]
        partial = functools.partial(functools.partial(Counter, 1, plus=1), 2, plus=10)
        assert await (await a.start(partial, 3, on="b")).ask(Get()) == [11, 12, 13]
        assert len(Counter.living) == 2


async def test_what_is_told_to_a_spawned_ref_comes_behind_the_spawn(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires, spawnable=TAKES) as (a, _):
        await trio.sleep(1)
        refs = []
        for number in range(20):
            refs.append(a.spawn(Counter, number, on="b"))
            refs[-1].tell(Do("note", number + 0.5))
            if number == 10:
                await wires.cut("a", "b")
        assert len({ref.address for ref in refs}) == 20
        for number, ref in enumerate(refs):
            assert await ref.ask(Get(), timeout=60) == [number, number + 0.5]
        assert list(a.dead_letters.recent) == []


async def test_what_goes_wrong_at_a_start_is_raised_where_it_was_wanted(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b", "c", spawnable=TAKES) as (a, _, c):
        for raises, text in (
            ("constructor", "ValueError: no such counter"),
            ("started", "ValueError: it does not start"),
        ):
            with pytest.raises(RemoteFailure) as caught:
                await a.start(functools.partial(Counter, raises=raises), name="x", on="b")
            assert (caught.value.node, caught.value.text) == ("b", text)
            assert "ValueError" in caught.value.trace
        # Its name is free again.
        one = await a.start(Counter, name="x", on="b")
        with pytest.raises(NameTaken):
            await a.start(Counter, name="x", on="b")
        with pytest.raises(NameTaken) as taken:
            await c.start(Counter, name="x", on="b")
        assert taken.value.holder is c.at("actor://b/spawned/x")
        assert await one.ask(Get()) == []
        with pytest.raises(RemoteFailure, match="unexpected keyword"):
            await a.start(functools.partial(Counter, minus=1), on="b")
        with pytest.raises(NotEncodable):
            await a.start(Counter, object(), on="b")
        with pytest.raises(NotEncodable):
            a.spawn(Counter, (1, 2), on="b")
        with pytest.raises(InvalidAddress):
            a.spawn(Counter, name="x/y", on="b")
        with pytest.raises(InvalidAddress):
            a.spawn(Counter, on="no node/")
        with pytest.raises(NotAnActor):
            a.spawn(object, on="b")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="on is the name of a node"):
            a.spawn(Counter, on=7)  # type: ignore[arg-type]


async def test_a_class_that_is_not_listed_is_taken_by_nobody(autojump_clock: MockClock) -> None:
    async with cluster("a", "b", spawnable=TAKES) as (a, b):
        await trio.sleep(1)
        for on in ("b", "z", "a"):
            with pytest.raises(NoNode, match=f"node '{on}' takes no actors of class Remote") as no:
                a.spawn(Remote, on=on)
            assert (no.value.cls, no.value.on, no.value.nodes) == (
                "Remote",
                on,
                {"b": ("Counter",)},
            )
            with pytest.raises(NoNode):
                await a.start(Remote, on=on)
        with pytest.raises(NoNode):
            b.spawn(Counter, on="a")
    async with ActorSystem("alone") as alone:
        with pytest.raises(NoNode, match="no transport"):
            alone.spawn(Counter, on="b")


async def test_a_peer_that_does_not_ask_first_is_refused_all_the_same(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b", spawnable=TAKES) as (a, b):
        await trio.sleep(1)
        node: Any = a._transport
        node.directory.takes["b"] = ("Counter", "Remote", "System")
        with pytest.raises(NoNode, match="node b takes actors of: Counter"):
            await a.start(Remote, on="b")
        (parent,) = b.children
        assert parent._children is None  # type: ignore[attr-defined]


async def test_a_start_waits_for_a_node_that_is_about_to_connect(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", wires=wires) as (a,):
        node = Node(wires.endpoint("b"), peers=["a"], spawnable=[Counter])
        with pytest.raises(NoNode):
            a.spawn(Counter, on="b")
        found: list[ActorRef] = []

        async def start() -> None:
            found.append(await a.start(Counter, 1, on="b"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            await trio.sleep(2)
            async with ActorSystem("b", transport=node):
                with trio.fail_after(2):
                    while not found:
                        await trio.sleep(0.01)
                assert await found[0].ask(Get()) == [1]


async def test_classes_may_have_names_of_their_own(autojump_clock: MockClock) -> None:
    class Other(Counter):
        pass

    takes = {"a": {"shop.Counter": Other}, "b": {"shop.Counter": Counter}}
    async with cluster("a", "b", spawnable=takes) as (a, _):
        there = await a.start(Other, 1, on="b")
        assert await there.ask(Get()) == [1]
        here = await a.start(Other, 2, on="a", name="x")
        assert (str(here), await here.ask(Get())) == ("actor://a/spawned/x", [2])
    with pytest.raises(ValueError, match="two classes are called 'Counter'"):
        Node(Wires().endpoint("x"), spawnable=[Counter, Counter])
    with pytest.raises(NotAnActor):
        Node(Wires().endpoint("x"), spawnable=[object])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="name of a class"):
        Node(Wires().endpoint("x"), spawnable={"": Counter})


async def test_watchers_hear_of_the_end_of_a_spawned_actor(autojump_clock: MockClock) -> None:
    notices: list[tuple[str, Any]] = []
    wires = Wires()
    async with cluster("a", "b", "c", wires=wires, spawnable=TAKES) as (a, _, c):
        watcher = a.spawn(Watcher, notices)
        await trio.sleep(1)
        for name in ("stops", "fails", "lives"):
            watcher.tell(a.spawn(Counter, name=name, on="b"))
        # Before it can be watched: the spawn itself is a watch.
        watcher.tell(a.spawn(functools.partial(Counter, raises="constructor"), name="bad", on="b"))
        watcher.tell(a.spawn(functools.partial(Counter, raises="started"), name="slow", on="b"))
        elsewhere: list[tuple[str, Any]] = []
        c.spawn(Watcher, elsewhere).tell(c.at("actor://b/spawned/fails"))
        await trio.sleep(2)
        a.at("actor://b/spawned/stops").stop()
        a.at("actor://b/spawned/fails").tell(Do("fail"))
        await trio.sleep(1)
        found = dict(notices)
        assert found["stops"] is ExitReason.NORMAL
        for name in ("fails", "bad", "slow"):
            assert isinstance(found[name], Failure)
            assert isinstance(found[name].exception, RemoteFailure)
        assert [name for name, _ in elsewhere] == ["fails"]
        # A failed one is stopped, and not restarted.
        with pytest.raises(ActorStopped):
            await a.at("actor://b/spawned/fails").ask(Get())
        await wires.part("a", "b")
        await trio.sleep(30)
        assert isinstance(dict(notices)["lives"], NodeDown)
        assert len(notices) == 5
        # Else two could live: the node that had spawned it would spawn it elsewhere.
        assert Counter.living == []


async def test_a_spawned_actor_ends_with_its_system(autojump_clock: MockClock) -> None:
    async with cluster("b", spawnable=TAKES, wires=(wires := Wires())) as (b,):
        async with ActorSystem("a", transport=Node(wires.endpoint("a"), peers=["b"])) as a:
            ref = await a.start(Counter, on="b")
            for number in range(100):
                ref.tell(Do("note", number))
            assert len(Counter.living) == 1
        # Gracefully: what was told was handled first.
        assert Counter.living == []
        assert b.ledger.handled == 100


async def test_a_spawned_actor_ends_with_the_incarnation_that_spawned_it(
    autojump_clock: MockClock,
) -> None:
    class Owner(Actor):
        async def started(self) -> None:
            self.there = await self.context.start(Counter, self.context.incarnation, on="b")

        def receive(self, message: Any) -> Any:
            if message == "fail":
                raise ValueError("as told")
            return self.there

    async with cluster("a", "b", spawnable=TAKES) as (a, _):
        owner = await a.start(Owner)
        first = await owner.ask("ref")
        assert len(Counter.living) == 1
        owner.tell("fail")
        second = await owner.ask("ref")
        assert Counter.living == [second.name] != [first.name]
        assert await second.ask(Get()) == [2]
        owner.stop()
        await owner.stopped()
        assert Counter.living == []


async def test_a_cancelled_start_leaves_nobody_there(autojump_clock: MockClock) -> None:
    async with cluster("a", "b", spawnable=TAKES) as (a, b):
        with trio.move_on_after(2) as scope:
            await a.start(functools.partial(Counter, raises="slow"), on="b")
        assert scope.cancelled_caught
        await trio.sleep(1)
        (parent,) = b.children
        assert parent._children == {}  # type: ignore[attr-defined]
        Counter.living.clear()


async def test_a_start_on_a_node_that_is_lost_fails(autojump_clock: MockClock) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires, spawnable=TAKES) as (a, _):
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def start() -> None:
                with pytest.raises(ActorStopped, match="node b was lost"):
                    await a.start(functools.partial(Counter, raises="slow"), on="b")

            await trio.sleep(2)
            await wires.part("a", "b")
        Counter.living.clear()


async def test_the_parent_of_spawned_actors_cannot_be_made_to_fail(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b", spawnable=TAKES) as (a, b):
        ref = await a.start(Counter, on="b")
        parent = a.at("actor://b/spawned")
        for _ in range(20):
            parent.tell(Do("fail"))
        await trio.sleep(1)
        assert await ref.ask(Get()) == []
        with pytest.raises(NameTaken):
            b.spawn(Counter, name="spawned")


async def test_a_child_that_asks_its_starter_in_its_start_finds_a_circle(
    autojump_clock: MockClock,
) -> None:
    class Shy(Counter):
        def __init__(self, owner: ActorRef) -> None:
            super().__init__()
            self.owner = owner

        async def started(self) -> None:
            await super().started()
            await self.owner.ask(Get(), timeout=1000)

    class Owner(Remote):
        async def receive(self, message: Any) -> Any:
            return str(await self.context.start(Shy, self.context.ref, on="b"))

    async with cluster("a", "b", spawnable={"b": [Shy]}) as (a, _):
        owner = a.spawn(Owner)
        begin = trio.current_time()
        with pytest.raises(ActorFailed, match="wait on itself"):
            await owner.ask(Do("start"), timeout=1000)
        assert trio.current_time() - begin < 10


async def test_a_placement_chooses_among_the_nodes_that_take_the_class(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    takes = {"a": [], "b": [Counter], "c": [Counter], "d": [Remote]}
    async with cluster("a", "b", "c", "d", wires=wires, spawnable=takes) as (a, *_):
        await trio.sleep(1)
        refs = [await a.start(Counter, on=LeastLoaded()) for _ in range(6)]
        assert [ref.address.node for ref in refs] == ["b", "c"] * 3
        refs[1].stop()
        refs[3].stop()
        await refs[3].stopped()
        more = [a.spawn(Counter, on=LeastLoaded()) for _ in range(3)]
        assert [ref.address.node for ref in more] == ["c", "c", "b"]
        placed = {key: a.spawn(Counter, on=Hashed(key)).address.node for key in range(20)}
        assert dict(sorted(placed.items())) == {
            key: a.spawn(Counter, on=Hashed(key)).address.node for key in range(20)
        }
        assert {*placed.values()} == {"b", "c"}
        assert a.spawn(Remote, on=LeastLoaded()).address.node == "d"
        # One that is out of reach is the last resort, also before it is lost.
        await wires.part("a", "b")
        await trio.sleep(1)
        assert a.spawn(Counter, on=Hashed("x")).address.node == "c"
        await wires.part("a", "c")
        await trio.sleep(30)
        with pytest.raises(NoNode, match="no node takes actors of class Counter"):
            a.spawn(Counter, on=LeastLoaded())
        with pytest.raises(NoNode):
            await a.start(Counter, on=LeastLoaded())


async def test_a_placement_that_makes_up_a_node_is_refused(autojump_clock: MockClock) -> None:
    class Elsewhere(Placement):
        def choose(self, candidates: Sequence[Candidate]) -> Candidate:
            return Candidate("z")

    async with cluster("a", "b", spawnable=TAKES) as (a, _):
        with pytest.raises(TypeError, match="no candidate"):
            await a.start(Counter, on=Elsewhere())
