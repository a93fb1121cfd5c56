"""Bugs of what nodes tell each other: asks, replies, watches, and what a lost peer leaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio

from actors.ask import Ask
from tests.simulation.apps import Letters, Questions, Watches
from tests.simulation.planting import Change, bug
from transports.encoding import envelope
from transports.nodes.asks import Asks
from transports.nodes.cycles import Probes
from transports.nodes.link import Link
from transports.nodes.outgoing import Outgoing
from transports.nodes.remote_ref import RemoteRef

lost = Outgoing.lost
asker_gone = Asks.asker_gone


@bug(Letters)
def newest_first_behind_the_window() -> Iterable[Change]:
    """What waits for the peer's window is sent last in, first out."""

    def flush(self: Outgoing) -> None:
        session = self.session
        while self.queue and session.credit > 0:
            payload, sent = self.queue.pop()
            number = session.send(payload, charged=sent is not None)
            if sent is not None:
                sent.written = True
                self._sent[number] = sent
        self._wake()

    yield Outgoing, "flush", flush


@bug(Letters)
def lost_messages_stay_on_the_way() -> Iterable[Change]:
    """What was on the way to a node that was lost counts against its next incarnation."""

    def lost_but_counted(self: Outgoing, down: Any, for_good: bool = False) -> None:
        before = dict(self.allowance.on_the_way)
        lost(self, down, for_good)
        for target, count in before.items():
            self.allowance.on_the_way[target] = self.allowance.on_the_way.get(target, 0) + count

    yield Outgoing, "lost", lost_but_counted


@bug(Questions)
def reply_to_the_wrong_ask() -> Iterable[Change]:
    """The number of an ask whose asker has gone is used again, though its reply may come."""
    post = Asks.post

    def give_back(self: Asks, ask: Ask) -> None:
        number = self.numbers.get(ask)
        asker_gone(self, ask)
        if number is not None:
            self.__dict__.setdefault("free", []).append(number)

    def post_again(
        self: Asks, ref: RemoteRef, ask: Ask, body: bytes, remaining: float | None
    ) -> None:
        free = self.__dict__.setdefault("free", [])
        if not free:
            post(self, ref, ask, body, remaining)
            return
        outgoing = self._outgoing
        last, outgoing._last = outgoing._last, free.pop() - 1
        post(self, ref, ask, body, remaining)
        outgoing._last = last

    yield Asks, "asker_gone", give_back
    yield Asks, "post", post_again


@bug(Questions)
def asks_without_asker_are_kept() -> Iterable[Change]:
    """An ask whose asker has gone stays in a table for ever: a leak of memory."""

    def keep(self: Asks, ask: Ask) -> None:
        number = self.numbers.get(ask)
        asker_gone(self, ask)
        if number is not None:
            self.by_number[number] = ask

    yield Asks, "asker_gone", keep


@bug(Questions)
def two_ask_each_other() -> Iterable[Change]:
    """Nobody looks for circles of asks across nodes: two actors wait for each other for ever."""
    yield Probes, "follow", lambda self, chain: None


@bug(Questions)
def task_left_behind() -> Iterable[Change]:
    """Each connection starts a task that nothing ends."""
    converse = Link.converse

    async def with_a_task(self: Link, *args: Any) -> None:
        trio.lowlevel.spawn_system_task(trio.sleep_forever)
        await converse(self, *args)

    yield Link, "converse", with_a_task


@bug(Watches)
def end_of_a_node_not_told() -> Iterable[Change]:
    """Who watches an actor of a node that is lost is not told."""

    def forget(self: Outgoing, down: Any, for_good: bool = False) -> None:
        self.watches.refs.clear()
        lost(self, down, for_good)

    yield Outgoing, "lost", forget


@bug(Watches)
def end_not_told_once_disconnected() -> Iterable[Change]:
    """The end of a watched actor is told only if there is a connection at that moment."""
    control = Outgoing.control

    def only_if_connected(
        self: Outgoing, message: envelope.Envelope, in_order: bool = False
    ) -> None:
        link = self.node._links[self.peer]
        if link.up or not isinstance(message, envelope.Ended):
            control(self, message, in_order)

    yield Outgoing, "control", only_if_connected


@bug(Watches)
def end_told_twice() -> Iterable[Change]:
    """Whoever was told of an actor's end is told again when its node is lost."""

    def ended(self: RemoteRef, reason: Any) -> None:
        watchers = dict(self._rare.watchers) if self._rare is not None else {}
        RemoteRef_ended(self, reason)
        if self._rare is not None:
            self._rare.watchers = watchers

    def tell_all(self: Outgoing, down: Any, for_good: bool = False) -> None:
        for ref in tuple(self.node._refs.values()):
            if ref.address.node == self.peer and ref not in self.watches.refs.values():
                ref.ended(down)
        lost(self, down, for_good)

    yield RemoteRef, "ended", ended
    yield Outgoing, "lost", tell_all


RemoteRef_ended = RemoteRef.ended
