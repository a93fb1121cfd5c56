"""How a supervisor carries out what its strategy decides: children end, and begin anew.

The strategy decides (`strategies`, `kinds`: pure). This runs on the supervisor's own turn, before
its next message: so a failure is never attended to twice at once, and while siblings stop and start
nothing else happens to the supervisor.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import ClassVar, Literal

from actors import (
    Actor,
    ActorRef,
    Escalate,
    ExitReason,
    Failure,
    NodeDown,
    NoNode,
    Resume,
    Stop,
)
from actors.cell import Cell
from actors.elsewhere import elsewhere
from actors.failing import ask_parent, decide, failed
from actors.failure import (
    ChildEnded,
    ChildFailed,
    ChildrenDue,
    ChildStopped,
    Directive,
    Restart,
    Signal,
)
from actors.intensity import Intensity
from actors.spawning import spawn, start
from actors.states import DRAINING, FAILED, RUNNING, STOPPED
from actors.stopping import stop
from actors.suspending import begin, begun, end, is_suspended, suspend
from supervision.backoff import delay
from supervision.due import Due
from supervision.elsewhere import ChildWatcher
from supervision.entry import Entry
from supervision.errors import ChildExited, ChildLost, TooManyRestarts
from supervision.kinds import RESTARTED, Exit, Kind
from supervision.strategies import OneForOne, Strategy

log = logging.getLogger("supervision")


class Restarting(Actor):
    """The part of BaseSupervisor that sees to its children; see there."""

    strategy: Strategy = OneForOne()
    auto_shutdown: ClassVar[Literal["never", "any_significant", "all_significant"]] = "never"

    _entries: dict[str, Entry]
    _intensity: Intensity
    _due: Due[Entry]
    """Children that are to be begun: they had stopped, or a sibling's failure ended them too."""
    _downs: deque[NodeDown]
    """The last nodes that were lost, each once."""
    _waits_for_node: bool

    @property
    def _cell(self) -> Cell:
        return self.context._cell

    async def _start_entry(
        self, entry: Entry, node_within: float = 0.0, watcher: ChildWatcher | None = None
    ) -> None:
        """Start it. node_within: seconds for a node that takes it, if it lives on another one."""
        spec = entry.spec
        entry.kept_down = False
        if spec.on is None:
            entry.cell = await start(self._cell, spec.recipe, spec.args, entry.name, spec.terms)
            return
        entry.there = await elsewhere(self._cell, spec.recipe, spec.on).start(
            self._cell,
            spec.recipe,
            spec.args,
            entry.name,
            spec.on,
            spec.terms,
            is_base=True,
            node_within=node_within,
            watcher=watcher or ChildWatcher(self._cell, entry.name),
        )
        entry.starts += 1
        entry.node_until = None

    async def _end(self, entry: Entry) -> None:
        """Stop it, wherever it is; returns when it has stopped."""
        cell, entry.cell = entry.cell, None
        there, entry.there = entry.there, None
        if cell is not None:
            await end(self._cell, cell)
        if there is not None:
            there._stop_as(ExitReason.SHUTDOWN)
            await self._cell._wait_as(self._cell, there._end())

    # -- seeing to a child

    async def _supervise(self, signal: Signal) -> None:
        if isinstance(signal, ChildFailed):
            await self._child_has_failed(signal.child, signal.failure)
        elif isinstance(signal, ChildStopped):
            await self._child_has_stopped(signal.child, signal.reason)
        elif isinstance(signal, ChildEnded):
            await self._child_has_ended(signal)
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
        self._has_gone(entry)

    def _has_gone(self, entry: Entry) -> None:
        """It is not restarted."""
        # It may have been stopped while it waited for its next start.
        self._due.remove(entry)
        if entry.spec.kind is Kind.TEMPORARY or self._forgets:
            del self._entries[entry.name]
        self._shut_down_for(entry)

    async def _child_has_ended(self, signal: ChildEnded) -> None:
        """A child on another node has ended, or its node is lost."""
        entry, ref, reason = self._entries.get(signal.name), signal.ref, signal.reason
        if entry is None or entry.there is not ref:
            return  # It was stopped by this supervisor, or has never started.
        entry.there = None
        if self._cell._state is not RUNNING:
            return
        if isinstance(reason, ExitReason) and reason is not ExitReason.NO_ACTOR:
            if self._keeps(entry, Exit.of(reason)):
                error: BaseException = ChildExited(ref, reason)
                failure = Failure(ref, error, "exit", None, entry.starts)
                await self._restart(entry, ref, failure, 0.0)
            else:
                self._has_gone(entry)
            return
        if isinstance(reason, Failure):
            error = reason.exception
        elif isinstance(reason, NodeDown):
            error = ChildLost(ref, reason.node, reason.why)
        else:
            error = ChildLost(ref, ref.address.node, "nobody is there any more")
        failure = Failure(ref, error, "elsewhere", None, entry.starts)
        directive = ask_parent(self, ref, failure)
        if isinstance(directive, Resume):
            directive = Restart()  # There is nobody left to go on.
        if isinstance(directive, Restart) and self._keeps(entry, Exit.FAILURE):
            is_counted = self._is_new(reason if isinstance(reason, NodeDown) else None)
            await self._restart(entry, ref, failure, directive.after, is_counted=is_counted)
            return
        reports = self._cell._dispatcher.crash_reports
        if isinstance(directive, Escalate):
            reports.publish(ref, failure, f"its supervisor decides: {directive}")
            # If this supervisor is to go on after that, it begins the child anew.
            self._due.add([entry])
            failed(self._cell, error, "escalated", None, failure)
            return
        reports.publish(ref, failure, f"its supervisor decides: {Stop()}")
        entry.kept_down = True
        self._has_gone(entry)

    _forgets: ClassVar[bool] = False
    """Whether a child that is not restarted is no longer known."""

    def _keeps(self, entry: Entry, end: Exit) -> bool:
        return RESTARTED[entry.spec.kind][end] and not entry.kept_down

    def _shut_down_for(self, ended: Entry) -> None:
        """A child is gone for good: see whether that is the end of the supervisor too."""
        if self.auto_shutdown == "never" or not ended.spec.significant:
            return
        if self.auto_shutdown == "all_significant" and any(
            entry.spec.significant and (entry.ref is not None or entry in self._due)
            for entry in self._entries.values()
        ):
            return
        log.info("%s: %s has ended, so it shuts down", self.context.ref, ended.name)
        stop(self._cell, ExitReason.SHUTDOWN)

    # -- restarting

    async def _restart(
        self,
        entry: Entry | None,
        child: ActorRef,
        failure: Failure,
        after: float,
        *,
        is_counted: bool = True,
    ) -> None:
        """Restart a child that failed or ended, and its siblings as the strategy says."""
        dispatcher = self._cell._dispatcher
        now = dispatcher.timers.clock()
        if is_counted and not self._intensity.admit(now):
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
        has_failed = child if isinstance(child, Cell) and child._state is FAILED else None
        if len(group) < 2 and has_failed is not None:
            decide(has_failed, Restart(after))
            return
        # First, so that an interruption leaves nobody suspended for ever.
        self._due.add(each for each in group if not each.kept_down)
        if has_failed is not None:
            # Until it begins again, this supervisor has to act: so the search of cycles sees that
            # a sibling which waits for it can never end.
            has_failed._rare_part().undecided = True
        gone = []
        for each in reversed(group):
            if each.ref is None:
                continue
            if each.spec.kind is Kind.TEMPORARY and each is not entry:
                # As in OTP: it ends because of a sibling, and is not restarted even so.
                self._due.remove(each)
                del self._entries[each.name]
                gone.append(each)
                await self._end(each)
            elif each.cell is None:
                # On another node there is no mailbox to be kept.
                await self._end(each)
            else:
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
            if entry.spec.on is not None:
                if entry.there is None and not await self._begin_there(entry):
                    continue
            elif entry.cell is None:
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
            self._not_begun(entry, error)
            return False
        await begun(self._cell, entry.cell)
        return True

    async def _begin_there(self, entry: Entry) -> bool:
        """As `_begin_anew`, on another node. While none takes it, that uses up no restarts."""
        try:
            await self._start_entry(entry)
        except NoNode as error:
            if not self._park(entry):
                self._not_begun(entry, error)
            return False
        except Exception as error:
            self._not_begun(entry, error)
            return False
        return True

    def _not_begun(self, entry: Entry, error: Exception) -> None:
        """It is due after another delay, and with it those that are to begin behind it.

        Raises:
            TooManyRestarts: it was the last attempt.
        """
        self._due.add(self._behind(entry), self._next_start(entry, error))

    def _next_start(self, entry: Entry, error: Exception, down: NodeDown | None = None) -> float:
        """Its start has failed: seconds until the next attempt. down: the node that was lost.

        Raises:
            TooManyRestarts: it was the last attempt.
        """
        now = self._cell._dispatcher.timers.clock()
        if self._is_new(down) and not self._intensity.admit(now):
            intensity = self._intensity
            ref = self.context.system.at(f"{self.context.ref}/{entry.name}")
            raise TooManyRestarts(ref, intensity.max_restarts, intensity.within) from error
        log.error("%s: %r did not start", self.context.ref, entry.name, exc_info=error)
        return self._backoff(entry, error, now)

    def _is_new(self, down: NodeDown | None) -> bool:
        """A node that is lost is one failure, however many children it had."""
        if down is None:
            return True
        is_new = not any(down is known for known in self._downs)
        if is_new:
            self._downs.append(down)
        return is_new

    def _behind(self, entry: Entry) -> list[Entry]:
        """It, and those that are due and begin after it."""
        return [entry] if isinstance(self.strategy, OneForOne) else list(self._due.ready())

    def _park(self, entry: Entry) -> bool:
        """Let it wait for a node, and those behind it. False: it has waited for long enough."""
        now, within = self._cell._dispatcher.timers.clock(), entry.spec.start_within
        if within is not None and entry.node_until is None:
            entry.node_until = now + within
        left = None if entry.node_until is None else entry.node_until - now
        if left is not None and left <= 0:
            entry.node_until = None
            return False
        log.info("%s: %r waits for a node", self.context.ref, entry.name)
        self._due.park(self._behind(entry), left)
        if not self._waits_for_node:
            self._waits_for_node = True
            assert entry.spec.on is not None
            spawner = elsewhere(self._cell, entry.spec.recipe, entry.spec.on)
            spawner.when_changed(self._nodes_changed)
        return True

    def _nodes_changed(self) -> None:
        self._waits_for_node = False
        if self._cell._actor is self:
            self._due.unpark()

    def _too_many(self, child: ActorRef, failure: Failure) -> None:
        intensity = self._intensity
        error = TooManyRestarts(child, intensity.max_restarts, intensity.within)
        error.__cause__ = failure.exception
        reports = self._cell._dispatcher.crash_reports
        reports.publish(child, failure, "too many restarts: it escalates")
        failed(self._cell, error, "escalated", None, failure)
