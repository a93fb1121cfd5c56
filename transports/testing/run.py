"""One run of a simulated cluster, from its first node to its verdict."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors import ActorSystem
from actors._trio_private import deterministic_scheduling
from actors.testing.clock import VirtualClock
from actors.testing.deadlock import Deadlock, run_virtually
from transports.encoding import envelope
from transports.errors import DecodeError
from transports.testing import oracles
from transports.testing.application import Application, Cluster
from transports.testing.chance import Dice
from transports.testing.cluster import (
    CLIENT,
    RESTART_AFTER,
    SimulatedNode,
    befall,
    causes,
)
from transports.testing.engine import Engine
from transports.testing.faults import Fault
from transports.testing.network import Network
from transports.testing.observe import Observer
from transports.testing.observe_nodes import identity_of
from transports.testing.outcome import Outcome, Violation, told
from transports.testing.plan import Plan
from transports.testing.schedulers import Kind as SchedulerKind
from transports.testing.schedulers import make_scheduler
from transports.testing.tasks import Group, ScheduledTasks, TaskControl
from transports.testing.trace import Trace
from transports.wire import frames
from transports.wire.framing import HEADER

if TYPE_CHECKING:
    from actors.cell import Cell
    from transports.testing.network import End

COLLECT_EVERY: Final = 50_000
"""Frames between two runs of the garbage collector: the same ones in each run."""


def _positive(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} is above 0, not {value!r}")


@attrs.frozen(kw_only=True)
class Times:
    """Virtual seconds.

    work_within: that `work` may take. recover_within: from the end of all faults until every node
    reaches every other one; the same again for `recover`; and again until all is quiet.

    Raises:
        ValueError: one is not above 0.
    """

    work_within: float = attrs.field(default=600.0, validator=_positive)
    recover_within: float = attrs.field(default=120.0, validator=_positive)


class Run:
    """See the module. Made and run once."""

    nursery: trio.Nursery
    client: SimulatedNode

    def __init__(
        self,
        app: Application,
        names: tuple[str, ...],
        seed: int,
        plan: Plan,
        times: Times,
        scheduler: SchedulerKind = "fair",
        describes: bool = False,
    ) -> None:
        self.app = app
        self.names = names
        self.all_names = (*names, CLIENT)
        self.dice = Dice(seed)
        self.plan = plan
        self.times = times
        self.describes = describes
        self.descriptions: dict[bytes, str] = {}
        self.trace = Trace()
        self.network = Network(self)
        self.engine = Engine(self)
        self.observer = Observer(self)
        self.scheduler = make_scheduler(scheduler, self.dice)
        self.tasks = (
            TaskControl() if self.scheduler is None else ScheduledTasks(self.scheduler.tasks)
        )
        self.nodes: dict[str, SimulatedNode] = {}
        self.systems: list[ActorSystem] = []
        self.crashed: list[tuple[Group, trio.CancelScope]] = []
        self.over = False
        self.healed = False
        """Nothing goes wrong any more."""
        self.error: Exception | None = None
        self.unknown = 0
        self._fired: list[Fault] = []
        self.missed: list[Fault] = []
        self._counts: Counter[str] = Counter()
        self._ended: dict[str, Exception] = {}
        self._clock = VirtualClock()
        self.now = self._clock.current_time
        """Virtual seconds since the run began."""
        self._body = trio.CancelScope()
        self._healed: trio.Event
        self._changed: trio.Event

    def run(self) -> Outcome:
        """Run it."""
        seed = self.dice.number("tasks")
        with deterministic_scheduling(seed), _quiet():
            try:
                run_virtually(self._main, clock=self._clock)
            except Exception as error:
                if self.error is not None and not isinstance(error, Deadlock):
                    # There was a verdict, and then the run could not end: that is the worse one.
                    text = f"the run could not end: {error!r}; before that: {told(self.error)}"
                    self.error = Violation("no error of the runtime", text)
                self._fail(error)
        return Outcome(
            self.error,
            self.trace.hash,
            tuple(self._fired),
            tuple(self.missed),
            dict(self._counts),
            self.network.frames,
            self.observer.handled,
            self._seconds,
            self.unknown,
            self.trace.events,
            self.all_names,
        )

    # -- phases

    _seconds = 0.0

    async def _main(self) -> None:
        trio.lowlevel.add_instrument(self.tasks)
        self._healed = trio.Event()
        self._changed = trio.Event()
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            nursery.start_soon(self.network.run)
            if self.app.lease is not None:
                nursery.start_soon(self.engine.run)
            with self._body:
                try:
                    await self._phases()
                except Deadlock:
                    raise
                except Exception as error:
                    self._fail(error)
            self._seconds = self.now()
            self.over = True
            # What is left of nodes ends here: all that counts has been counted.
            self.tasks.open()
            for group, scope in self.crashed:
                scope.cancel()
                group.release()
            for node in self.all_nodes():
                node.end()
            nursery.cancel_scope.cancel()

    async def _phases(self) -> None:
        self.client = SimulatedNode(self, CLIENT)
        for name in self.names:
            self.nodes[name] = SimulatedNode(self, name)
        cluster = Cluster(self)
        self.client.start()
        for name in self.names:
            self.nodes[name].start()
        self.nursery.start_soon(befall, self, self.names)
        await self._until(lambda: self.client.is_up, "the client's node starts")
        await self._within(self.times.work_within, self.app.work(cluster), "work() ends")
        self._heal()
        await self._until(self._all_up, "all nodes are up", self._not_up)
        await self._within(
            self.times.recover_within, oracles.all_reach_all(self), "every node reaches every other"
        )
        await self._within(self.times.recover_within, self.app.recover(cluster), "recover() ends")
        await oracles.all_is_quiet(self)
        oracles.compare_ledgers(self)
        self.app.check(cluster)
        oracles.nothing_is_kept(self)
        for node in reversed(self.all_nodes()):
            node.leave()
            await self._within(60.0, node.ended.wait(), f"node {node.name} can be left")
        oracles.settle_accounts(self)

    def _heal(self) -> None:
        self._add("note", "", text="everything heals")
        self.healed = True
        self._healed.set()
        self.network.heal()
        self.engine.heal()

    def all_nodes(self) -> list[SimulatedNode]:
        """Those of the application, and the client's."""
        return [*self.nodes.values(), self.client]

    def _all_up(self) -> bool:
        return all(node.is_up for node in self.all_nodes())

    def _not_up(self) -> str:
        """Why not, as far as is known."""
        return "".join(
            f"; {node.name} is down"
            + (f", at last by {told(self._ended[node.name])}" if node.name in self._ended else "")
            for node in self.all_nodes()
            if not node.is_up
        )

    async def _within(
        self,
        seconds: float,
        awaitable: Awaitable[object],
        what: str,
        why: Callable[[], str] = str,
    ) -> None:
        with trio.move_on_after(seconds) as scope:
            await awaitable
        if scope.cancelled_caught:
            raise Violation(
                "liveness", f"it took longer than {seconds:g} virtual seconds until {what}{why()}"
            )

    async def _until(
        self, condition: Callable[[], bool], what: str, why: Callable[[], str] = str
    ) -> None:
        async def wait() -> None:
            while not condition():
                await self._changed.wait()

        await self._within(self.times.recover_within, wait(), what, why)

    # -- what nodes and the network tell

    def changed(self) -> None:
        """A node is up."""
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def sleep_or_heal(self, seconds: float) -> None:
        """Sleep; less if everything heals meanwhile."""
        with trio.move_on_after(seconds):
            await self._healed.wait()

    def ready_queue(self, name: str, incarnation: int) -> deque[Cell]:
        """Where actors of a node wait for their turn."""
        if self.scheduler is None:
            return deque()
        return self.scheduler.ready(name, incarnation)

    def violated(self, oracle: str, text: str) -> None:
        """An oracle has spoken: the run ends."""
        self._fail(Violation(oracle, text))
        self._body.cancel()

    def ended_by_itself(self, node: SimulatedNode, error: Exception) -> None:
        """A node's program has ended with an error: it is started again after a while."""
        node.fence()
        self._ended[node.name] = error
        self.trace_node(node, "crashed", f"by itself: {causes(error)}")
        self._counts["node ended by itself"] += 1

        async def again() -> None:
            await trio.sleep(RESTART_AFTER)
            node.start()

        self.nursery.start_soon(again)

    def _fail(self, error: Exception) -> None:
        if self.error is None:
            self.error = error
            self._add("note", "", text=f"FAILED: {type(error).__name__}")

    # -- the trace

    def fired(self, fault: Fault) -> None:
        """A fault has befallen something."""
        self._fired.append(fault)
        self._counts[fault.kind] += 1
        node, _, peer = fault.where.replace("<->", "->").partition("->")
        if "://" in node:
            node = node.partition("://")[2].partition("/")[0]
        self._add("fault", node, peer, str(fault), 0, str(fault))

    def sent(self, end: End, text: str, number: int, fault: Fault | None, frame: bytes) -> None:
        """A frame was sent."""
        if number % COLLECT_EVERY == 0:
            gc.collect()
        detail = self._describe(frame, text) if self.describes else ""
        self._add(
            "sent", end.node, end.peer, text, number, "" if fault is None else str(fault), detail
        )

    def _describe(self, frame: bytes, text: str) -> str:
        """What a frame carries, for people, in place of its checksum."""
        text = text.rpartition(" ")[0]
        payload = frame[HEADER.size :]
        if not payload or payload[0] != frames.DATA:
            return text
        try:
            carried: Any = envelope.decode(payload[frames.DATA_HEADER.size :])
        except DecodeError:
            return text
        words = [text, type(carried).__name__]
        words.append(getattr(carried, "target", "") or getattr(carried, "path", ""))
        words.append(self.descriptions.get(identity_of(getattr(carried, "body", b"")), ""))
        return " ".join(filter(None, words))

    def arrived(self, end: End, text: str, number: int, fault: Fault | None) -> None:
        """A frame has arrived."""
        self._add("arrived", end.node, end.peer, text, number, "" if fault is None else str(fault))

    def note_actor(self, node: SimulatedNode, text: str, detail: str = "") -> None:
        """A handler or hook."""
        if not self.over and not node.gone:
            self._add("actor", node.name, "", text, detail=detail)

    def trace_node(self, node: SimulatedNode, what: str, more: str = "") -> None:
        """A node has started, crashed, ..."""
        self._add("node", node.name, "", f"{what} {more}".rstrip())

    def trace_link(self, what: str, way: str, fault: Fault) -> None:
        """A link was parted, slowed or healed."""
        node, _, peer = way.partition("->")
        self._add("node", node, peer, what, 0, str(fault))

    def note(self, text: str) -> None:
        """What the application says."""
        self._add("note", "", text=text)

    def sometimes(self, what: str) -> None:
        """Count it."""
        self._counts[what] += 1

    def _add(
        self,
        kind: Any,
        node: str,
        peer: str = "",
        text: str = "",
        frame: int = 0,
        fault: str = "",
        detail: str = "",
    ) -> None:
        if not self.over:
            self.trace.add(self.now(), kind, node, peer, text, frame, fault, detail)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What actors fail of is part of the run, and no news for the log."""
    names = [
        name
        for name in logging.Logger.manager.loggerDict
        if name.partition(".")[0] in ("actors", "supervision", "transports")
    ]
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in before:
            logger.disabled = disabled
