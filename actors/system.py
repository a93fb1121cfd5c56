"""The actor system: where actors live, from entering `async with` to leaving it."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import trio

from actors.address import Address, check_name
from actors.crash_reports import CrashReports
from actors.dead_letters import DeadLetters
from actors.dispatcher import Dispatcher
from actors.elsewhere import Elsewhere, elsewhere
from actors.env import Env
from actors.errors import NotRunning
from actors.failure import Failure, Terminated
from actors.intensity import Intensity
from actors.ledger import Counters, Ledger
from actors.mailbox import CLOSED, NOTHING
from actors.monitor import monitor
from actors.path_ref import PathRef
from actors.ref import check_ref
from actors.root import Root
from actors.routing.registry import Registry
from actors.spawning import spawn, start
from actors.states import STOPPED, STOPPING
from actors.strict import StrictCell, make_round_tripper
from actors.threads import FromThread, current_thread
from actors.timers import Timers, check_seconds

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.cell import Cell
    from actors.placement import Placement
    from actors.ref import ActorRef

log = logging.getLogger("actors")

Resolver = Callable[[Address], "ActorRef"]


class Transport(Protocol):
    """What connects systems; see the `transports` package. Passed in, never made here."""

    async def attach(self, system: ActorSystem) -> None:
        """The system has been entered: connect, and install resolvers."""

    async def detach(self) -> None:
        """The system is being left, its actors have stopped."""


class ActorSystem(Registry):
    """A tree of actors, a ledger of their messages, and the tasks that run them.

        async with ActorSystem("demo") as system:
            account = system.spawn(Account, 100)

    name: the first word of every address in it.
    transport: what connects it to other processes; None: one process.
    env: the source of time, chance and identity; one Env belongs to one system.
    max_restarts, within: a top-level actor that fails is restarted, all of them together up to
        max_restarts times within any `within` seconds (None: without limit). At one failure more,
        everything is cancelled and `async with` raises an ExceptionGroup of what failed, each with
        the actor's address and the message in its notes.
    stop_within: seconds, for leaving.
    strict_messages: for tests: every message and reply is encoded and decoded again, as between
        two processes, so that what could not be sent there fails here, and receivers get copies.
        It needs `import transports`; see docs/testing.md.

    Leaving the block normally stops the top-level actors gracefully, the youngest first: what was
    queued is handled first. What is left after `stop_within` seconds is cancelled, and reported
    in the log. Leaving it by an exception cancels running handlers at once. `stopped()` hooks run
    in both cases, for their actor's `shutdown` seconds at the most, and `stop_within` seconds
    after a cancellation they are cancelled too. Until the block is left, a cancellation from
    outside reaches only the body, so a body's `finally` can still talk to its actors. No task is
    left behind. A handler that shields itself from cancellation, or a thread that cannot be
    cancelled, is waited for, as everywhere in trio.

    Raises:
        InvalidAddress: the name cannot stand in an address.
        ValueError, TypeError: a limit, or a transport, that is none; or strict_messages without
            `transports`.
    """

    def __init__(
        self,
        name: str,
        *,
        transport: Transport | None = None,
        env: Env | None = None,
        max_restarts: int | None = 5,
        within: float = 60.0,
        stop_within: float = 10.0,
        strict_messages: bool = False,
    ) -> None:
        self.name = check_name(name, "system's name")
        self.env = env if env is not None else Env()
        if not isinstance(self.env, Env):
            raise TypeError(f"env is an Env, not {env!r}")
        intensity = Intensity(max_restarts, within)
        self._stop_within = check_seconds(stop_within, "stop_within")
        self._counters = Counters()
        self.dead_letters = DeadLetters(self._counters)
        self.crash_reports = CrashReports()
        self._dispatcher = Dispatcher(self, self.env, self._counters)
        if strict_messages:
            self._dispatcher.round_trip = make_round_tripper(self.at)
            self._dispatcher.cell_class = StrictCell
        self._root = Root(self._dispatcher, intensity, self._give_up)
        given: object = transport
        if isinstance(given, type) or not (given is None or hasattr(given, "attach")):
            raise TypeError(
                "transport is a node of the `transports` package, as Unix() or "
                f'Tcp("127.0.0.1:7400"), not {given!r}'
            )
        self._transport = transport
        self._attached = False
        self._elsewhere: Elsewhere | None = None
        self._failures: list[Failure] = []
        self._resolvers: dict[str, Resolver] = {
            "actor": self._resolve_actor,
            **self._set_up_routing(self),
        }
        self.from_thread = FromThread(self)
        self._entered = False
        self.left_in_time = True
        """False once leaving it has cancelled what did not stop within `stop_within` seconds."""

    # -- entering and leaving

    async def __aenter__(self) -> ActorSystem:
        if self._entered:
            raise NotRunning(
                self.name, f"the actor system {self.name!r} was entered before: make a new one"
            )
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            raise NotRunning(
                self.name,
                f"the actor system {self.name!r} needs trio: run your async function by "
                "actors.run(main) or trio.run(main), not by asyncio",
            ) from None
        self._entered = True
        self.from_thread._token = trio.lowlevel.current_trio_token()
        self._dispatcher.prepare(current_thread(), contextvars.copy_context(), Timers(self.env))
        self._scope = trio.CancelScope()
        self._scope.__enter__()
        self._nursery_manager = trio.open_nursery()
        try:
            nursery = self._nursery = await self._nursery_manager.__aenter__()
            # Not nursery.start: in a scope that is cancelled already it would wait for ever for
            # a task that is shielded.
            opened = trio.Event()
            nursery.start_soon(self._dispatcher.run, opened)
            with trio.CancelScope(shield=True):
                await opened.wait()
            await trio.lowlevel.checkpoint_if_cancelled()
            if self._transport is not None:
                await self._transport.attach(self)
                self._attached = True
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        dispatcher = self._dispatcher
        self._root._state = STOPPING
        cancelled: trio.Cancelled | None = None
        crash: BaseException | None = None
        if not dispatcher.crashed:
            try:
                if error is None:
                    with trio.move_on_after(self._stop_within) as limit:
                        await self._root.stop_in_order()
                        if self._elsewhere is not None:
                            await self._elsewhere.stop_all()
                    if limit.cancelled_caught:
                        self.left_in_time = False
                        self._report_left()
            except trio.Cancelled as cancel:
                # Left while leaving: by a cancellation from outside, or because the system failed.
                cancelled = cancel
            if not dispatcher.crashed:
                try:
                    await self._cut_off()
                except BaseException as broken:
                    # Raised here it would tear this system's scopes, and those around it.
                    crash = broken
                    self._nursery.cancel_scope.cancel()
        try:
            # The body's exception is not the nursery's: it stays what it is, in no group.
            await self._nursery_manager.__aexit__(None, None, None)
        except BaseException as group:
            if crash is not None:
                group.__context__ = crash
            crash = group
        self._end(error or cancelled, crash)
        if cancelled is not None:
            raise cancelled

    async def _cut_off(self) -> None:
        """Cancel all handlers that are left; wait for hooks, for a bounded time; let tasks go."""
        with trio.CancelScope(shield=True):
            with trio.move_on_after(self._stop_within) as limit:
                await self._root.kill_all()
            if limit.cancelled_caught:
                self._report_left()
                self._dispatcher.workers.abandon_hooks()
                await self._root.kill_all()
            self._root._state = STOPPED
            try:
                if self._transport is not None and self._attached:
                    await self._transport.detach()
            finally:
                self._dispatcher.close()

    def _end(self, error: BaseException | None, crash: BaseException | None) -> None:
        """Close the scope, and raise what is to be raised besides `error`."""
        absorbed = self._scope.__exit__(
            type(error) if error is not None else None,
            error,
            error.__traceback__ if error is not None else None,
        )
        if crash is not None:
            raise crash
        if self._failures:
            # Only these cancel the scope: so it never absorbs an exception that is not replaced.
            causes = [_with_notes(failure) for failure in self._failures]
            if error is not None and not absorbed:
                if not isinstance(error, Exception):
                    raise BaseExceptionGroup(f"actor system {self.name!r} failed", [*causes, error])
                causes.append(error)
            raise BaseExceptionGroup(f"actor system {self.name!r} failed", causes)

    def _report_left(self) -> None:
        for cell in self._cells():
            if not cell._idle:
                log.warning(
                    "%s did not stop within %g s of leaving the system: it is cancelled",
                    cell,
                    self._stop_within,
                )

    def _give_up(self, failure: Failure) -> None:
        """One failure too many: cancel the body, and raise at the end."""
        self._failures.append(failure)
        self._scope.cancel()

    # -- actors

    def spawn(
        self,
        cls: Callable[..., Actor],
        *args: Any,
        name: str | None = None,
        on: str | Placement | None = None,
    ) -> ActorRef:
        """Make a top-level actor and return its ref; its `started()` runs soon.

        Positional arguments are the constructor's; `functools.partial` is for keywords, as with
        `nursery.start_soon`. Without a name it gets a unique one. The constructor runs at once.

        on: the name of a node, or what chooses one (LeastLoaded(), Hashed(key)): the actor is made
            there, as ``actor://NODE/spawned/NAME``, if that node takes its class. The arguments
            are values, as what is sent (docs/wire.md). What is told to the ref comes behind the
            spawn. What goes wrong there, its watchers hear as a Failure. It is not restarted there;
            it ends when this system does, or is lost to that node.

        Raises:
            Exception: whatever the constructor raised; nothing is spawned then.
            NoNode: no node that is connected takes the class.
            NotEncodable: an argument cannot be sent.
            NotAnActor, NameTaken, InvalidAddress, NotRunning, SystemClosed, WrongThread.
        """
        if on is not None:
            return elsewhere(self._root, cls, on).spawn(self._root, cls, args, name, on)
        return spawn(self._root, cls, args, name)

    async def start(
        self,
        cls: Callable[..., Actor],
        *args: Any,
        name: str | None = None,
        on: str | Placement | None = None,
    ) -> ActorRef:
        """As `spawn`, and return when `started()` has returned, as `nursery.start`. A checkpoint.

        If cancelled, the actor is stopped at once.

        on: as for `spawn`; a node that takes the class is waited for, as long as a handshake may
            take (`Limits.handshake_within`).

        Raises:
            Exception: whatever `started()` raised; the actor is gone then, and its name is free.
            RemoteFailure: on another node: what the constructor or `started()` raised, as text.
            ActorStopped: it was stopped before it had started, or its node was lost.
            otherwise as `spawn`.
        """
        if on is not None:
            return await elsewhere(self._root, cls, on).start(self._root, cls, args, name, on)
        return await start(self._root, cls, args, name)

    async def watch(self, ref: ActorRef) -> Terminated:
        """Wait until an incarnation of `ref` ends, and return why. `Context.watch` for no actor.

        At once, with ExitReason.NO_ACTOR, if it has stopped already. A ref of another node: also
        when that is lost (NodeDown). Always a checkpoint; if cancelled, it is watched no longer.

        Raises:
            TypeError: `ref` is no ref of an actor that can be watched.
            AskCycle: called by an actor for which `ref` waits, or by `ref` itself.
            SystemClosed, NotRunning, WrongThread.
        """
        return await monitor(self._dispatcher, check_ref(ref, "watch"))

    @property
    def transport(self) -> Any:
        """The `transports.Node` that was passed in, or None."""
        return self._transport

    def at(self, address: str | Address) -> ActorRef:
        """The ref of an address. Never waits, and does not ask whether anybody is there.

        For an actor that is alive it is the actor's own ref. Otherwise it looks at each use
        whether there is one now; if not, tells go to the dead letters and asks raise ActorStopped.

        Raises:
            InvalidAddress: it is no address.
            SystemClosed, NotRunning: the system is not running.
        """
        self._dispatcher.check_open()
        parsed = Address.parse(address)
        return self._resolvers[parsed.scheme](parsed)

    def install_resolver(self, scheme: str, resolver: Resolver) -> None:
        """Let `resolver` turn addresses of `scheme` into refs. For routing and transports."""
        self._resolvers[scheme] = resolver

    def install_elsewhere(self, spawner: Elsewhere) -> None:
        """Let `spawner` spawn what is spawned `on=` a node. For transports."""
        self._elsewhere = spawner

    def _resolve_actor(self, address: Address) -> ActorRef:
        return self._find(address) or PathRef(self, address)

    def _find(self, address: Address) -> Cell | None:
        """The actor that lives at the address now."""
        if address.node != self.name:
            return None
        children = self._root._children
        cell: Cell | None = None
        for word in address.path.split("/"):
            cell = (children or {}).get(word)
            if cell is None:
                return None
            children = cell._children
        return cell

    @property
    def children(self) -> tuple[ActorRef, ...]:
        """The top-level actors that are alive, in order of start."""
        return tuple((self._root._children or {}).values())

    # -- the ledger

    @property
    def ledger(self) -> Ledger:
        """A snapshot of how many messages were sent and what became of them.

        Takes time in proportion to the actors alive (40 ns each where they are idle).
        """
        outstanding = queued = in_flight = begun = 0
        for cell in self._cells():
            rare = cell._rare
            if cell._idle and (rare is None or not rare.stash):
                # Nothing waits, so no room should be used: if some is, a message was lost.
                outstanding += cell._traits.room - cell._room
                continue
            waiting = len(cell._queue or ()) + len(cell._front or ())
            if rare is not None:
                waiting += len(rare.stash) - rare.stashed_now
            queued += waiting
            if self._dispatcher.current is cell and not self._dispatcher.stepping:
                # A plain handler reads this: its batch is counted when it ends.
                outstanding += waiting
                continue
            begun += cell._done
            outstanding += cell._traits.room - cell._room + len(cell._queue or ())
            if cell._closed():
                outstanding -= CLOSED
            if cell._message is not NOTHING:
                if cell._handles():
                    in_flight += 1
                else:
                    queued += 1
        return self._counters.snapshot(
            outstanding=outstanding, queued=queued, begun=begun, in_flight=in_flight
        )

    def _cells(self) -> Iterator[Cell]:
        todo = list((self._root._children or {}).values())
        while todo:
            cell = todo.pop()
            yield cell
            if cell._children:
                todo.extend(cell._children.values())

    def __repr__(self) -> str:
        return f"<ActorSystem {self.name!r}>"


def _with_notes(failure: Failure) -> BaseException:
    """The exception that began it, with a note for each actor that it went through."""
    notes = [failure.describe()]
    while failure.origin is not None:
        failure = failure.origin
        notes.append(failure.describe())
    for note in reversed(notes):
        failure.exception.add_note(note)
    return failure.exception
