"""What all supervisors are: an actor that starts children, and restarts them by its strategy.

The strategy decides (`strategies`, `kinds`: pure); this module carries it out. It runs on the
supervisor's own turn, before its next message: so a failure is never attended to twice at once,
and while siblings stop and start nothing else happens to the supervisor.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Literal

from actors import Actor, ActorRef, Escalate, ExitReason, Failure, Resume, Stop
from actors.ask import Ask
from actors.cell import Cell
from actors.failing import ask_parent, decide, failed
from actors.failure import ChildFailed, ChildrenDue, ChildStopped, Directive, Restart
from actors.intensity import Intensity
from actors.spawning import spawn, start
from actors.states import DRAINING, FAILED, RUNNING, STOPPED
from actors.stopping import stop
from actors.suspending import begin, begun, end, is_suspended, suspend
from supervision.backoff import delay
from supervision.child import ChildSpec
from supervision.due import Due
from supervision.errors import ChildExited, NoSuchChild, TooManyRestarts
from supervision.kinds import RESTARTED, Exit, Kind
from supervision.strategies import OneForOne, Strategy
from supervision.views import (
    ChildCounts,
    ChildInfo,
    CountChildren,
    RestartChild,
    StartChild,
    StopChild,
    WhichChildren,
)

log = logging.getLogger("supervision")

AUTO_SHUTDOWN = ("never", "any_significant", "all_significant")


class Entry:
    """A child as its supervisor knows it. `cell` is None while it is not running."""

    __slots__ = ("attempts", "cell", "first_failure", "kept_down", "last_failure", "name", "spec")

    def __init__(self, name: str, spec: ChildSpec) -> None:
        self.name = name
        self.spec = spec
        self.cell: Cell | None = None
        # Of the failures in a row, for the backoff.
        self.attempts = 0
        self.first_failure = self.last_failure = 0.0
        # The strategy said Stop, or somebody StopChild: only RestartChild starts it again.
        self.kept_down = False


class BaseSupervisor(Actor):
    """The base of Supervisor, DynamicSupervisor and Pool; see there.

    Class attributes (or set by the constructor):
        strategy: what to do about a child's failure.
        auto_shutdown: "never"; "any_significant": this supervisor stops (SHUTDOWN) when one of its
            significant children has ended and is not restarted; "all_significant": when the last
            of them has.
    """

    strategy: Strategy = OneForOne()
    auto_shutdown: ClassVar[Literal["never", "any_significant", "all_significant"]] = "never"

    _entries: dict[str, Entry]
    _intensity: Intensity
    _due: Due[Entry]
    """Children that are to be begun: they had stopped, or a sibling's failure ended them too."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _check_strategy(cls.strategy, cls.__name__)
        if cls.auto_shutdown not in AUTO_SHUTDOWN:
            raise ValueError(
                f"{cls.__name__}.auto_shutdown is one of {', '.join(AUTO_SHUTDOWN)}: "
                f"{cls.auto_shutdown!r}"
            )

    # -- what a subclass uses

    def which_children(self) -> tuple[ChildInfo, ...]:
        """The children, in order of start; those that are not running are among them."""
        listed = [self._info(entry) for entry in self._entries.values()]
        others = [
            ChildInfo(
                cell.name,
                cell,
                cell._state.value,
                None,
                False,
                issubclass(cell._traits.cls, BaseSupervisor),
                cell.incarnation - 1,
            )
            for cell in self._cells()
            if cell.name not in self._entries
        ]
        return (*listed, *others)

    def count_children(self) -> ChildCounts:
        """How many children there are."""
        children = self.which_children()
        supervisors = sum(child.supervisor for child in children)
        return ChildCounts(
            specs=len(children),
            active=sum(child.ref is not None for child in children),
            supervisors=supervisors,
            workers=len(children) - supervisors,
        )

    async def stop_child(self, name: str) -> None:
        """Stop a child, and return once it has stopped. Only `restart_child` starts it again.

        If its handler waits for this supervisor, that wait is cancelled.

        Raises:
            NoSuchChild: there is none of that name.
        """
        entry = self._entry(name)
        self._due.remove(entry)
        entry.kept_down = True
        cell, entry.cell = entry.cell, None
        if cell is not None:
            await end(self._cell, cell)

    async def restart_child(self, name: str) -> ActorRef:
        """Start a child again that is not running, and return its ref once it has started.

        Of a child that runs, its ref as it is.

        Raises:
            NoSuchChild: there is none of that name.
            Exception: whatever its start raised; it is not running then.
        """
        entry = self._entry(name)
        if entry.cell is None:
            await self._start_entry(entry)
        assert entry.cell is not None
        return entry.cell

    async def receive(self, message: Any) -> Any:
        """Answer what `supervision.views` asks.

        A subclass with messages of its own passes on the rest:
        `case _: return await super().receive(message)`.

        A message that is none of these is refused: its asker gets ActorFailed, or it is logged.
        """
        match message:
            case WhichChildren():
                return self.which_children()
            case CountChildren():
                return self.count_children()
            case StopChild(name):
                return await self._answer(self.stop_child(name))
            case RestartChild(name):
                return await self._answer(self.restart_child(name))
        hint = "; a DynamicSupervisor has" if isinstance(message, StartChild) else ""
        return self._refuse(
            TypeError(f"{type(self).__name__} has no handler for {type(message).__name__}{hint}")
        )

    # -- children

    @property
    def _cell(self) -> Cell:
        return self.context._cell

    def _cells(self) -> tuple[Cell, ...]:
        return tuple((self._cell._children or {}).values())

    def _entry(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise NoSuchChild(self.context.ref, name, tuple(self._entries)) from None

    def _info(self, entry: Entry) -> ChildInfo:
        cell = entry.cell
        return ChildInfo(
            entry.name,
            cell,
            "not running" if cell is None else cell._state.value,
            entry.spec.kind,
            entry.spec.significant,
            issubclass(entry.spec.cls, BaseSupervisor),
            0 if cell is None else cell.incarnation - 1,
        )

    async def _start(self) -> None:
        _check_strategy(self.strategy, type(self).__name__)
        self._entries = {}
        self._intensity = self.strategy.intensity()
        timers, owned = self._cell._dispatcher.timers, self._cell._rare_part().timers
        self._due = Due(lambda after, call: timers.add(after, None, call, owned), self._look_again)
        for name, spec in self._first_children().items():
            entry = self._entries[name] = Entry(name, spec)
            try:
                await self._start_entry(entry)
            except Exception as error:
                error.add_note(f"raised by the start of {name!r}, a child of {self.context.ref}")
                raise
        await self.started()

    def _first_children(self) -> dict[str, ChildSpec]:
        return {}

    async def _start_entry(self, entry: Entry) -> None:
        spec = entry.spec
        entry.kept_down = False
        entry.cell = await start(self._cell, spec.recipe, spec.args, entry.name, spec.terms)

    # -- answering

    async def _answer(self, work: Any) -> Any:
        """Reply with what the work returns, or raises: the asker's mistake is not our failure."""
        try:
            return await work
        except Exception as error:
            return self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        message = self._cell._message
        if isinstance(message, Ask):
            message.failed(error)
        else:
            log.warning("%s: %s", self.context.ref, error)

    # -- seeing to a child

    async def _supervise(self, signal: ChildFailed | ChildStopped | ChildrenDue) -> None:
        if isinstance(signal, ChildFailed):
            await self._child_has_failed(signal.child, signal.failure)
        elif isinstance(signal, ChildStopped):
            await self._child_has_stopped(signal.child, signal.reason)
        if self._cell._state in (RUNNING, DRAINING) and self._due.next() is not None:
            await self._begin_due()

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        """What the strategy says of the failure. A subclass may decide otherwise.

        Restart() is subject to the child's kind, and to the strategy's limit, group and backoff.
        """
        return self.strategy.decide(failure.exception)

    async def _child_has_failed(self, child: Cell, failure: Failure) -> None:
        rare = child._rare_part()
        if child._state is not FAILED or rare.failure is not failure:
            return  # Meanwhile it was stopped, or restarted with a sibling.
        rare.undecided = False
        directive = ask_parent(self, child, failure)
        entry = self._entries.get(child.name)
        if entry is not None and entry.cell is not child:
            entry = None
        if isinstance(directive, Resume) and failure.during in ("__init__", "started"):
            # There is no state to go on with; and a restart counts, and waits for its backoff.
            directive = Restart()
        if isinstance(directive, Restart):
            if entry is not None and not self._keeps(entry, Exit.FAILURE):
                directive = Stop()
            else:
                await self._restart(entry, child, failure, directive.after)
                return
        reports = child._dispatcher.crash_reports
        reports.publish(child, failure, f"its supervisor decides: {directive}")
        if isinstance(directive, Escalate):
            failed(self._cell, failure.exception, "escalated", None, failure)
        else:
            if entry is not None and isinstance(directive, Stop):
                entry.kept_down = True
            decide(child, directive)

    async def _child_has_stopped(self, child: Cell, reason: ExitReason | Failure) -> None:
        entry = self._entries.get(child.name)
        if entry is None or entry.cell is not child:
            return  # It was stopped by this supervisor, or is none of its list.
        entry.cell = None
        if self._cell._state is not RUNNING:
            return
        if self._keeps(entry, Exit.of(reason)):
            entry.kept_down = False
            if isinstance(reason, Failure):
                failure = reason
            else:
                failure = Failure(
                    child, ChildExited(child, reason), "exit", None, child.incarnation
                )
            await self._restart(entry, child, failure, 0.0)
            return
        # It may have been stopped while it waited for its next start.
        self._due.remove(entry)
        if entry.spec.kind is Kind.TEMPORARY or self._forgets:
            del self._entries[entry.name]
        self._shut_down_for(entry)

    _forgets: ClassVar[bool] = False
    """Whether a child that is not restarted is no longer known."""

    def _keeps(self, entry: Entry, end: Exit) -> bool:
        return RESTARTED[entry.spec.kind][end] and not entry.kept_down

    def _shut_down_for(self, ended: Entry) -> None:
        """A child is gone for good: see whether that is the end of the supervisor too."""
        if self.auto_shutdown == "never" or not ended.spec.significant:
            return
        if self.auto_shutdown == "all_significant" and any(
            entry.spec.significant and (entry.cell is not None or entry in self._due)
            for entry in self._entries.values()
        ):
            return
        log.info("%s: %s has ended, so it shuts down", self.context.ref, ended.name)
        stop(self._cell, ExitReason.SHUTDOWN)

    # -- restarting

    async def _restart(
        self, entry: Entry | None, child: Cell, failure: Failure, after: float
    ) -> None:
        """Restart a child that failed or ended, and its siblings as the strategy says."""
        dispatcher = child._dispatcher
        now = dispatcher.timers.clock()
        if not self._intensity.admit(now):
            self._too_many(child, failure)
            return
        after = max(after, self._backoff(entry, failure.exception, now))
        group = [] if entry is None else self._group(entry)
        if dispatcher.crash_reports.wanted():
            names = ", ".join(
                each.name
                for each in group
                if each is not entry and each.spec.kind is not Kind.TEMPORARY
            )
            decision = "its supervisor restarts it"
            decision += f", and {names}" if names else ""
            decision += f", in {after:.3g} s" if after else ""
            dispatcher.crash_reports.publish(child, failure, decision)
        if len(group) < 2 and child._state is FAILED:
            decide(child, Restart(after))
            return
        # First, so that an interruption leaves nobody suspended for ever.
        self._due.add(each for each in group if not each.kept_down)
        if child._state is FAILED:
            # Until it begins again, this supervisor has to act: so the search of cycles sees that
            # a sibling which waits for it can never end.
            child._rare_part().undecided = True
        gone = []
        for each in reversed(group):
            if each.cell is None:
                continue
            if each.spec.kind is Kind.TEMPORARY and each is not entry:
                # As in OTP: it ends because of a sibling, and is not restarted even so.
                self._due.remove(each)
                cell, each.cell = each.cell, None
                del self._entries[each.name]
                gone.append(each)
                await end(self._cell, cell)
                continue
            await suspend(self._cell, each.cell, failure)
            if each.cell._state is STOPPED:
                each.cell = None
        self._due.add([each for each in group if each in self._due], after)
        for each in gone:
            self._shut_down_for(each)

    def _group(self, entry: Entry) -> list[Entry]:
        if isinstance(self.strategy, OneForOne):
            return [entry]  # At once: there may be 100,000 children.
        names = self.strategy.group(tuple(self._entries), entry.name)
        return [self._entries[name] for name in names]

    def _backoff(self, entry: Entry | None, exception: BaseException, now: float) -> float:
        """Seconds before this restart."""
        wait = self.strategy.backoff
        if wait is None or entry is None:
            return 0.0
        if not entry.attempts or now - entry.last_failure >= self.strategy.within:
            entry.attempts = 0
            entry.first_failure = now
        entry.attempts += 1
        entry.last_failure = now
        env = self.context.system.env
        address = str(self._cell.address)
        chance = env.random("backoff", address, entry.name, entry.attempts, now.hex())
        return delay(wait, entry.attempts, exception, now - entry.first_failure, chance)

    def _look_again(self) -> None:
        self._cell._rare_part().signals.append(ChildrenDue())
        self._cell._wake()

    async def _begin_due(self) -> None:
        """Begin the children that are due, in order, each when the one before it has started.

        If one fails to start, the rest waits: its failure comes next, and decides for them all.
        """
        while (entry := self._due.next()) is not None:
            if entry.cell is None:
                if not await self._begin_anew(entry):
                    continue
            elif is_suspended(entry.cell):
                await begin(self._cell, entry.cell)
            self._due.remove(entry)
            if entry.cell is not None and entry.cell._state is FAILED:
                return

    async def _begin_anew(self, entry: Entry) -> bool:
        """A child that had ended, and not failed, has a new ref. Whether it could be spawned.

        If not, it is due after another delay, and with it those that are to begin behind it.
        """
        spec = entry.spec
        try:
            entry.cell = spawn(self._cell, spec.recipe, spec.args, entry.name, spec.terms)
        except Exception as error:
            now = self._cell._dispatcher.timers.clock()
            if not self._intensity.admit(now):
                intensity = self._intensity
                ref = self.context.system.at(f"{self.context.ref}/{entry.name}")
                raise TooManyRestarts(ref, intensity.max_restarts, intensity.within) from error
            log.exception("%s: %r did not start", self.context.ref, entry.name)
            behind = [entry] if isinstance(self.strategy, OneForOne) else self._due.ready()
            self._due.add(behind, self._backoff(entry, error, now))
            return False
        await begun(self._cell, entry.cell)
        return True

    def _too_many(self, child: Cell, failure: Failure) -> None:
        intensity = self._intensity
        error = TooManyRestarts(child, intensity.max_restarts, intensity.within)
        error.__cause__ = failure.exception
        child._dispatcher.crash_reports.publish(child, failure, "too many restarts: it escalates")
        failed(self._cell, error, "escalated", None, failure)


def _check_strategy(strategy: object, where: str) -> None:
    if not isinstance(strategy, Strategy):
        raise TypeError(
            f"{where}.strategy is OneForOne(), OneForAll() or RestForOne(): {strategy!r}"
        )
