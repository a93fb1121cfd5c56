"""The nodes of a simulated cluster: how they start, crash, stand still and start again."""

from __future__ import annotations

import copy
import logging
import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors import Actor, ActorSystem, Env
from actors.env import Clock
from transports.testing.engine import SimulatedStore
from transports.testing.faults import ENGINE_FAULTS, NODE_FAULTS, PERIOD, Fault
from transports.testing.observe_nodes import ObservedNode
from transports.testing.tasks import Group

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.env import Random
    from transports.testing.network import Endpoint
    from transports.testing.run import Run

log = logging.getLogger("transports")

CLIENT = "client"
"""The node that a run's own work is done from: it never crashes, and is never paused."""

RESTART_AFTER = 0.5
"""Seconds until a node that has ended by itself is started again."""


class NodeEnv(Env):
    """The Env of one incarnation of a node: its own clock, seed and order of actors."""

    def __init__(self, node: SimulatedNode, skew: Fault | None) -> None:
        run = node.run
        seed = run.dice.number("env", node.name, node.incarnation)
        slices = (1, 3, 16, 64)[run.dice.number("slice", node.name) % 4]
        super().__init__(seed, slice_messages=slices)
        self._node = node
        self._incarnation = node.incarnation
        self._ahead = 0.0 if skew is None else skew.by
        self._rate = 1.0 if skew is None else skew.rate

    def clock(self) -> Clock:
        """The node's own clock."""
        true = super().clock()
        if self._ahead == 0.0 and self._rate == 1.0:
            return true
        return lambda: self._ahead + self._rate * true()

    def now(self) -> float:
        """The time on the node's own clock."""
        return self._ahead + self._rate * super().now()

    def until(self, time: float) -> float:
        """The first moment, on trio's clock, at which the node's own says `time` or more."""
        if (self._ahead == 0.0 and self._rate == 1.0) or math.isinf(time):
            return time
        moment = (time - self._ahead) / self._rate
        while self._ahead + self._rate * moment < time:
            moment = math.nextafter(moment, math.inf)
        return moment

    def incarnation(self) -> int:
        """How often the node has started."""
        return self._incarnation

    def constructed(self, actor: Actor) -> None:
        """Watch it."""
        self._node.run.observer.constructed(self._node, self._incarnation, actor)

    def ready(self) -> deque[Cell]:
        """In an order of the scheduler's."""
        return self._node.run.ready_queue(self._node.name, self._incarnation)


@attrs.frozen
class Old:
    """An incarnation of a node that was taken for dead."""

    incarnation: int
    group: Group
    endpoint: Endpoint


class SimulatedNode:
    """One node of a cluster, through all its incarnations.

    name; system: the ActorSystem of its newest incarnation; incarnation: 1, and one more each time
    that it starts; is_up: it runs and `Application.start` has returned; disk: a dict that outlives
    it, for what an application would have written to a disk.
    """

    system: ActorSystem
    node: ObservedNode

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.name = name
        self.incarnation = 0
        self.is_up = False
        self.disk: dict[str, Any] = {}
        self.gone = False
        self.identities: dict[int, Any] = {}
        self.ended = trio.Event()
        self._group = Group(name)
        self._groups: dict[int, Group] = {}
        self._endpoint: Endpoint | None = None
        self._scope = trio.CancelScope()
        self._leave = trio.Event()
        self._paused: list[Fault] = []

    def random(self, *key: str | int) -> Random:
        """A random generator for this key, of this node."""
        return Env(self.run.dice.seed).random("node", self.name, *key)

    @property
    def group(self) -> Group:
        """The tasks of its newest incarnation."""
        return self._group

    def group_of(self, incarnation: int) -> Group:
        """The tasks of any of its incarnations."""
        return self._groups[incarnation]

    # -- its life

    def start(self) -> None:
        """Start a new incarnation."""
        run = self.run
        self.incarnation += 1
        self.gone = self.is_up = False
        self.ended = trio.Event()
        self._leave = trio.Event()
        self._scope = trio.CancelScope()
        self._group = self._groups[self.incarnation] = Group(self.name)
        self._endpoint = run.network.endpoint(self.name)
        run.trace_node(self, "started", f"incarnation {self.incarnation}")
        skew = None if run.healed else run.plan.on_start(self.name, self.incarnation)
        if skew is not None:
            run.fired(skew)
        run.tasks.first(self._group)
        run.nursery.start_soon(
            self._live, self.incarnation, self._scope, self._endpoint, skew, self._leave, self.ended
        )

    async def _live(
        self,
        incarnation: int,
        scope: trio.CancelScope,
        endpoint: Endpoint,
        skew: Fault | None,
        leave: trio.Event,
        ended: trio.Event,
    ) -> None:
        run = self.run
        app = run.app
        peers = [name for name in run.all_names if name != self.name]
        node = ObservedNode(
            endpoint,
            peers=peers,
            incarnation=incarnation,
            limits=app.limits,
            spawnable=() if self.name == CLIENT else app.spawnable,
            store=None if app.lease is None else self._store(endpoint),
            lease=app.lease,
        )
        node.simulated = self
        app_failed = False
        system = ActorSystem(self.name, transport=node, env=NodeEnv(self, skew), **app.options)
        with scope:
            try:
                async with system:
                    self.system = system
                    self.node = node
                    self.identities = node.identities
                    run.systems.append(system)
                    system.spawn(Echo, name="simulation-echo")
                    if self.name != CLIENT:
                        try:
                            await app.start(self)
                        except Exception:
                            app_failed = True
                            raise
                    self.is_up = True
                    run.changed()
                    await leave.wait()
                    self.is_up = False
                run.trace_node(self, "left")
            # A system that is cancelled while it fails ends with both.
            except* Exception as errors:
                if not (run.over or self.gone or incarnation != self.incarnation):
                    self._failed(errors, of_runtime=not (system._failures or app_failed))
            finally:
                ended.set()

    def _store(self, endpoint: Endpoint) -> SimulatedStore:
        return SimulatedStore(self.run.engine, self.name, lambda: endpoint.fenced)

    def _failed(self, error: Exception, of_runtime: bool) -> None:
        # What a real process would end with: whoever watches over it starts it again.
        self.is_up = False
        if of_runtime:
            self.run.violated("no error of the runtime", f"node {self.name}: {causes(error)}")
        self.run.ended_by_itself(self, error)

    def leave(self) -> None:
        """Let it end in good order."""
        self._leave.set()

    def end(self) -> None:
        """The run is over: cancel what is left of it."""
        self._scope.cancel()
        self._group.release()

    def crash(self, silent: bool) -> None:
        """It is gone at once: nothing of it gets out, and none of its tasks takes a step."""
        assert self._endpoint is not None
        self.gone = True
        self.is_up = False
        self.run.network.fence(self._endpoint, silent)
        self._group.hold()
        self.run.crashed.append((self._group, self._scope))
        self.run.trace_node(self, "crashed")

    def fence(self) -> None:
        """It has ended by itself: nothing of it gets out any more."""
        assert self._endpoint is not None
        self.gone = True
        self.run.network.fence(self._endpoint, silent=False)

    @property
    def is_paused(self) -> bool:
        """Whether it stands still."""
        return bool(self._paused)

    def start_beside(self) -> Old:
        """It stands still, and is taken for dead: start a new incarnation. Returns the old one.

        The disk goes with the new one: what the old one still writes is written nowhere.
        """
        assert self._endpoint is not None
        old = Old(self.incarnation, self._group, self._endpoint)
        self._group.hold()
        self.run.crashed.append((self._group, self._scope))
        self.run.trace_node(self, "paused", "and taken for dead")
        self.disk = copy.deepcopy(self.disk)
        self.start()
        return old

    def pause(self, fault: Fault) -> None:
        """It stands still. What arrives for it waits."""
        self._paused.append(fault)
        self._group.hold()
        self.run.trace_node(self, "paused")

    def resume(self, fault: Fault) -> None:
        """It goes on, unless another fault keeps it."""
        if fault in self._paused:
            self._paused.remove(fault)
            if not self._paused and not self.gone:
                self._group.release()
                self.run.trace_node(self, "resumed")


def causes(error: BaseException) -> str:
    """The kinds of errors in it, for a trace: their texts may differ from run to run."""
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(causes(each) for each in error.exceptions)
    return type(error).__name__


class Echo(Actor):
    """In each node, to find out whether it can be reached."""

    def receive(self, message: Any) -> Any:
        return message


async def befall(run: Run, names: Sequence[str]) -> None:
    """Let faults befall nodes and links, at their times; until cancelled."""
    ends = [*names, CLIENT]
    period = 0
    while True:
        faults = run.plan.in_period(period, names, ends)
        if run.app.lease is not None:
            faults += run.plan.of_engine(period, ends)
            faults.sort(key=lambda fault: (fault.at, str(fault)))
        for fault in faults:
            await trio.sleep_until(fault.at)
            run.nursery.start_soon(_one, run, fault)
        period += 1
        await trio.sleep_until(period * PERIOD)


async def _double(run: Run, node: SimulatedNode, fault: Fault) -> None:
    old = node.start_beside()
    await run.sleep_or_heal(fault.lasts)
    if not run.healed:
        run.trace_node(node, "resumed", f"incarnation {old.incarnation}, beside the new one")
        old.group.release()
        await run.sleep_or_heal(math.inf)
    run.network.fence(old.endpoint, silent=False)
    old.group.hold()


async def _befall_engine(run: Run, fault: Fault) -> None:
    if run.healed:
        return
    engine = run.engine
    run.fired(fault)
    if fault.kind == "engine-away":
        engine.goes(fault)
        await run.sleep_or_heal(fault.lasts)
        engine.comes_back(fault)
    else:
        engine.part(fault.where, fault)
        await run.sleep_or_heal(fault.lasts)
        engine.unpart(fault.where, fault)


async def _one(run: Run, fault: Fault) -> None:
    network = run.network
    if fault.kind in ENGINE_FAULTS:
        await _befall_engine(run, fault)
        return
    if fault.kind in NODE_FAULTS:
        node = run.nodes.get(fault.where)
        if node is None or node.gone or run.healed:
            run.missed.append(fault)
            return
        if fault.kind == "double":
            if node.is_up and not node.is_paused:
                run.fired(fault)
                await _double(run, node, fault)
            else:
                run.missed.append(fault)
            return
        run.fired(fault)
        if fault.kind == "crash":
            node.crash(silent=run.dice.fraction("silent", fault.where, str(fault.at)) < 0.5)
            await run.sleep_or_heal(fault.lasts)
            node.start()
        else:
            node.pause(fault)
            await run.sleep_or_heal(fault.lasts)
            node.resume(fault)
        return
    one, arrow, other = fault.where.partition("<->")
    ways = [fault.where] if not arrow else [f"{one}->{other}", f"{other}->{one}"]
    known = all(name in run.all_names for name in ways[0].split("->"))
    if run.healed or not known:
        return
    run.fired(fault)
    is_slow = fault.kind == "slow"
    for way in ways:
        (network.slow if is_slow else network.part)(way, fault)
    run.trace_link("slowed" if is_slow else "parted", ways[0], fault)
    await run.sleep_or_heal(fault.lasts)
    for way in ways:
        (network.unslow if is_slow else network.unpart)(way, fault)
    run.trace_link("healed", ways[0], fault)
