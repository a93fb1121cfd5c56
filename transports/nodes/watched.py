"""What a peer waits for of actors here: word of their ends, and that they have stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors import ExitReason, Failure, Terminated
from actors.cell import Cell
from actors.states import RUNNING
from transports.encoding import envelope
from transports.nodes.reports import text_of, trace_of

if TYPE_CHECKING:
    from transports.nodes.incoming import Incoming
    from transports.nodes.outgoing import Outgoing


class RemoteWatcher:
    """A watcher on another node: what `watching.notify` needs of a cell."""

    __slots__ = ("_dispatcher", "_idle", "_owner", "_rare", "path", "watched")

    def __init__(self, owner: Watched, path: str, watched: Cell) -> None:
        self._owner = owner
        self.path = path
        self.watched = watched
        self._idle = True
        self._rare = None
        self._dispatcher = watched._dispatcher

    def _closed(self) -> bool:
        return False

    def tell(self, notice: Terminated) -> None:
        """The watched actor's incarnation has ended."""
        self._owner.ended(self, notice)


class Watched:
    """The actors here that one peer watches, in one session, by their paths."""

    def __init__(self, incoming: Incoming, outgoing: Outgoing) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self.by_path: dict[str, RemoteWatcher] = {}

    def watch(self, path: str) -> None:
        """Tell the peer when the incarnation ends that is at this path now."""
        if path in self.by_path:
            return
        cell = self._incoming.find(path)
        if cell is None:
            self._outgoing.control(envelope.Ended(path, ExitReason.NO_ACTOR.value))
            return
        watcher = self.by_path[path] = RemoteWatcher(self, path, cell)
        cell._rare_part().watchers[watcher] = None  # type: ignore[index] # all that notify() needs

    def unwatch(self, path: str) -> None:
        """No longer."""
        watcher = self.by_path.pop(path, None)
        if watcher is not None and watcher.watched._rare is not None:
            watcher.watched._rare.watchers.pop(watcher, None)  # type: ignore[call-overload]

    def ended(self, watcher: RemoteWatcher, notice: Terminated) -> None:
        """Tell the other node."""
        if self.by_path.pop(watcher.path, None) is None or self._incoming.is_over:
            return
        reason = notice.reason
        if isinstance(reason, Failure):
            error = reason.exception
            ended = envelope.Ended(watcher.path, "failed", text_of(error), trace_of(error))
            self._outgoing.control(ended)
        elif (
            watcher.watched in self._incoming.spawned
            and self._outgoing.node.system._root._state is not RUNNING
        ):
            # It did nothing to end; and who has spawned it is to spawn it elsewhere.
            self._outgoing.control(envelope.Ended(watcher.path, "node down", "it is being left"))
        else:
            self._outgoing.control(envelope.Ended(watcher.path, str(reason)))

    def lost(self) -> None:
        """The peer is lost."""
        for path in tuple(self.by_path):
            self.unwatch(path)


class StopAnswer:
    """Somebody on another node waits for the end of an actor."""

    __slots__ = ("_stops", "cell", "number", "path")

    def __init__(self, stops: AwaitedStops, number: int, path: str, cell: Cell) -> None:
        self._stops = stops
        self.number = number
        self.path = path
        self.cell = cell
        cell._on_stop(self.say)

    def say(self) -> None:
        """It has stopped for good."""
        self._stops.has_stopped(self)

    def leave(self) -> None:
        """Nobody waits for it any more."""
        rare = self.cell._rare
        if rare is not None and self.say in rare.cleanups:
            rare.cleanups.remove(self.say)


class AwaitedStops:
    """The actors here for whose stop one peer waits, in one session, by their paths."""

    def __init__(self, incoming: Incoming, outgoing: Outgoing) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self.by_path: dict[str, StopAnswer] = {}
        self._paths: dict[int, str] = {}

    def await_stop(self, message: envelope.AwaitStop) -> None:
        """Tell the peer when an actor has stopped for good."""
        cell = self._incoming.find(message.path)
        known = self.by_path.get(message.path)
        if cell is None:
            self._say_stopped(message.number)
        elif known is not None:
            # One for each actor, however often it is asked: the newest is answered.
            self._paths.pop(known.number, None)
            known.number = message.number
            self._paths[message.number] = message.path
        else:
            self.by_path[message.path] = StopAnswer(self, message.number, message.path, cell)
            self._paths[message.number] = message.path

    def has_stopped(self, answer: StopAnswer) -> None:
        """An actor that a peer waits for has stopped."""
        self._paths.pop(answer.number, None)
        self.by_path.pop(answer.path, None)
        self._say_stopped(answer.number)

    def _say_stopped(self, number: int) -> None:
        if not self._incoming.is_over:
            body = self._outgoing.node.codec.encode_value(None)
            self._outgoing.control(envelope.Replied(number, body))

    def cancelled(self, number: int) -> None:
        """Nobody waits any more, if this is the number of a stop."""
        path = self._paths.pop(number, None)
        stop = None if path is None else self.by_path.pop(path, None)
        if stop is not None:
            stop.leave()

    def lost(self) -> None:
        """The peer is lost."""
        stops, self.by_path = self.by_path, {}
        for stop in stops.values():
            stop.leave()
