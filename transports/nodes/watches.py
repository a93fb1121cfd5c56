"""What this node waits for of actors on a peer: word of their ends, and that they have stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors import ExitReason, NodeDown
from actors.waiting import Waiter
from transports.encoding import envelope

if TYPE_CHECKING:
    from transports.nodes.outgoing import Outgoing
    from transports.nodes.remote_ref import RemoteRef


class Watches:
    """The actors of one peer of whose ends it is to tell, by their paths."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self.refs: dict[str, RemoteRef] = {}

    def watch(self, ref: RemoteRef) -> None:
        """Ask to be told of the end of an actor there."""
        path = ref.address.path
        if path not in self.refs:
            self.refs[path] = ref
            self._outgoing.control(envelope.Watch(path), in_order=True)

    def expect(self, ref: RemoteRef) -> None:
        """The peer will tell of this actor's end, without being asked to."""
        self.refs[ref.address.path] = ref

    def unwatch(self, ref: RemoteRef) -> None:
        """No longer."""
        if ref.address.path in self._outgoing.spawns:
            return
        if self.refs.pop(ref.address.path, None) is not None:
            self._outgoing.control(envelope.Unwatch(ref.address.path), in_order=True)

    def ended(self, message: envelope.Ended) -> None:
        """An actor there has ended."""
        ref = self.refs.pop(message.path, None)
        if ref is None:
            return
        outgoing = self._outgoing
        outgoing.spawns.ended(ref)
        if message.reason == "node down":
            ref.ended(outgoing.spawns.node_is_left(message.text))
        else:
            ref.ended(outgoing.node.reason_of(ref, outgoing.peer, message))

    def lost(self, down: NodeDown) -> None:
        """The peer is lost: all of them have ended."""
        refs, self.refs = self.refs, {}
        for ref in refs.values():
            self._outgoing.spawns.ended(ref)
            ref.ended(down)


class StopWait(Waiter):
    """A wait for the answer to an AwaitStop, which others may wait for too."""

    __slots__ = ("number", "stops")

    def __init__(self, stops: Stops, number: int) -> None:
        super().__init__(None)
        self.number = number
        self.stops = stops

    def abandoned(self) -> None:
        super().abandoned()
        self.stops.gone(self)


class Stops:
    """Who waits until an actor of one peer has stopped. by_number: by what is to be answered."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self.by_number: dict[int, tuple[str, dict[StopWait, None]]] = {}
        self.numbers: dict[str, int] = {}

    def stop(self, ref: RemoteRef, reason: ExitReason = ExitReason.NORMAL) -> None:
        """Stop an actor there, behind what was sent to it."""
        self._outgoing.control(envelope.Stop(ref.address.path, reason.value), in_order=True)

    def wait(self, ref: RemoteRef) -> Waiter:
        """A wait for the end of an actor there. The other node is asked once, for all of them."""
        path = ref.address.path
        number = self.numbers.get(path)
        if number is None:
            number = self.numbers[path] = self._ask(path)
        return self._wait(number)

    def round_trip(self) -> Waiter:
        """A wait until the peer has taken all that was sent before, or is lost."""
        # It is answered at once: no actor has this path.
        return self._wait(self._ask(""))

    def _ask(self, path: str) -> int:
        number = self._outgoing.next_number()
        self.by_number[number] = (path, {})
        self._outgoing.control(envelope.AwaitStop(number, path), in_order=True)
        return number

    def _wait(self, number: int) -> Waiter:
        waiter = StopWait(self, number)
        self.by_number[number][1][waiter] = None
        return waiter

    def stopped(self, number: int) -> None:
        """An actor has stopped, if somebody waits for that under this number."""
        if number in self.by_number:
            path, waiters = self.by_number.pop(number)
            self.numbers.pop(path, None)
            for waiter in waiters:
                waiter.resolve()

    def gone(self, waiter: StopWait) -> None:
        """A wait was cancelled."""
        if waiter.number not in self.by_number:
            return
        path, waiters = self.by_number[waiter.number]
        waiters.pop(waiter, None)
        if not waiters:
            del self.by_number[waiter.number]
            self.numbers.pop(path, None)
            self._outgoing.control(envelope.Cancelled(waiter.number), in_order=True)

    def lost(self) -> None:
        """The peer is lost: whatever was there has stopped."""
        by_number, self.by_number = self.by_number, {}
        self.numbers.clear()
        for _, waiters in by_number.values():
            for waiter in waiters:
                waiter.resolve()
