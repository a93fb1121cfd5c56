"""The ref of an actor on another node."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import current_task

from actors import (
    ActorRef,
    ExitReason,
    Failure,
    MailboxFull,
    NodeDown,
    NotAMessage,
    SystemClosed,
    Terminated,
)
from actors._trio_private import may_be_cancelled
from actors.address import Address
from actors.ask import Ask
from actors.threads import current_thread
from actors.timers import check_seconds
from actors.waiting import PENDING, Raised, Waiter
from actors.watching import notify, take_back
from transports.encoding import envelope
from transports.encoding.envelope import BIN_8
from transports.errors import NotEncodable
from transports.nodes.streaming import open_channel

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.streams import Channel
    from transports.nodes.node import Node
    from transports.nodes.outgoing import Outgoing


class Watchers:
    """Who watches a remote actor: what a local one keeps in its cell, where others look for it."""

    __slots__ = ("undecided", "watchers")

    def __init__(self) -> None:
        self.watchers: dict[Cell, None] = {}
        self.undecided = False


class RemoteRef(ActorRef):
    """An actor of another node, by its address.

    What is told to it is queued for its node, and acknowledged when it is in the actor's mailbox; a
    mailbox without room there makes the sender here wait (`send`, `ask`) or refuses (`tell`) once
    the node has as many messages for this actor as it may have on the way. A message that cannot
    be encoded raises NotEncodable at once. When the node is lost, what it had not acknowledged
    becomes dead letters (PEER_LOST), and who waits for a reply gets ActorStopped.

    Links (`context.link`) reach actors of the same node only.
    """

    __slots__ = ("__weakref__", "_address", "_node", "_rare", "_tell_head", "peer", "text")

    def __init__(self, node: Node, address: Address) -> None:
        self._node = node
        self._address = address
        self.text = str(address)
        self.peer = address.node
        self._tell_head: bytes | None = None
        # Under this name the search of cycles, and a watcher that ends, look for it.
        self._rare: Watchers | None = None

    @property
    def address(self) -> Address:
        return self._address

    def __str__(self) -> str:
        return self.text

    def encode_tell(self, body: bytes) -> bytes:
        """The envelope of a message for this actor."""
        size = len(body)
        if size > 255:
            return envelope.encode(envelope.Tell(self._address.path, body))
        head = self._tell_head
        if head is None:
            head = self._tell_head = envelope.tell_head(self._address.path)
        # As that, at a third of the cost.
        return head + BIN_8[size] + body

    def tell(self, message: object) -> None:
        node = self._node
        node.dispatcher.check_thread("tell")
        link = node.link(self._address.node)
        if link is None:
            node.no_such_node(self, message)
        elif not link.tell(self, message):
            counters = node.dispatcher.counters
            counters.at_the_door += 1
            counters.rejected += 1
            raise MailboxFull(self, message, link.per_target)

    async def send(self, message: object) -> None:
        node = self._node
        if current_thread() != node.dispatcher.thread:
            node.dispatcher.refuse_thread("send")
        if may_be_cancelled(current_task()):
            await trio.lowlevel.checkpoint_if_cancelled()
        link = node.link(self.peer)
        if link is None:
            node.no_such_node(self, message)
        elif not link.tell(self, message):
            waiter = link.allowance.wait_for_room(self, message)
            await self._node.wait(waiter)

    async def ask(self, message: Any, timeout: float | None = 5.0) -> Any:
        if message.__class__ is type:
            raise NotAMessage(message, f"is a class; ask takes an instance: {message.__name__}()")
        node = self._node
        dispatcher = node.dispatcher
        dispatcher.check_thread("ask")
        timers = dispatcher.timers
        if timeout is not None and timeout not in timers.asks:
            check_seconds(timeout, "timeout")
        if may_be_cancelled(current_task()):
            await trio.lowlevel.checkpoint_if_cancelled()
        end = inf if timeout is None else timers.clock() + timeout
        asker = node.asker()
        ask = Ask(message, asker, self, end, timeout)  # type: ignore[arg-type] # see `_rare`
        link = node.link(self.peer)
        if link is None:
            self._take_over(ask)
        else:
            link.ask(self, ask)
        if ask.value is PENDING:
            if timeout is not None:
                timers.expect(ask)
            if asker is None:
                # As `wait`, without the call.
                try:
                    await ask.wait_in_task()
                except BaseException:
                    ask.abandoned()
                    raise
        value = ask.value
        if asker is None and value.__class__ is not Raised:
            return value
        return await (ask.wait(dispatcher) if asker is None else asker._wait_as(asker, ask))

    async def _open_stream(self, channel: Channel, request: object) -> None:
        node = self._node
        node.dispatcher.check_thread("stream")
        await trio.lowlevel.checkpoint_if_cancelled()
        asker = node.asker()
        ask = Ask(request, asker, self, inf, None)  # type: ignore[arg-type] # see `_rare`
        link = node.link(self._address.node)
        if link is None:
            self._take_over(ask)
            channel.dispatcher = node.dispatcher
            channel.request(ask)
            channel.enqueue(None)
            return
        open_channel(channel, link, ask, asker)
        link.ask(self, ask)

    def _take_over(self, ask: Ask) -> None:
        link = self._node.link(self.peer)
        ask.holder = self  # type: ignore[assignment] # see `_rare`
        if link is not None:
            link.ask(self, ask)
            return
        counters = self._node.dispatcher.counters
        counters.at_the_door += 1
        counters.rejected += 1
        ask.stopped(f"no node called {self._address.node!r} is known")

    def _whereabouts(self, ask: Ask) -> tuple[str, str]:
        away = self._node.why_away(self.peer)
        return (f"{ask.where}; {away}" if away else ask.where), ""

    _takes_asks = True

    def _put_ask(self, ask: Ask) -> None:
        """Send what is asked. One that cannot be sent is answered at once, as by an actor."""
        try:
            self._take_over(ask)
        except NotEncodable as error:
            ask.failed(error)
        except SystemClosed as error:
            counters = self._node.dispatcher.counters
            counters.at_the_door += 1
            counters.rejected += 1
            ask.stopped(str(error))

    def _load(self) -> int:
        link = self._node.link_still(self._address.node)
        return 0 if link is None else link.allowance.on_the_way.get(self.text, 0)

    def _closed(self) -> bool:
        """One that did not answer is taken for gone: its node says so if it is a consumer again."""
        return True

    def _asker_gone(self, ask: Ask) -> None:
        """Nobody waits for the reply any more (see `Cell`): the other node is told."""
        link = self._node.link_still(self._address.node)
        if link is not None:
            link.asks.asker_gone(ask)

    def _waits_for(self) -> Iterator[Waiter]:
        """What it waits for, only its own node knows: that one is sent a Probe."""
        return iter(())

    # -- watching and stopping

    def _rare_part(self) -> Watchers:
        if self._rare is None:
            self._rare = Watchers()
        return self._rare

    def _watched_by(self, watcher: Cell) -> None:
        link = self._node.link(self._address.node)
        if link is None:
            notify(watcher, Terminated(self, NodeDown(self._address.node, "no such node is known")))
            return
        self._rare_part().watchers[watcher] = None
        watcher._rare_part().watching[self] = None  # type: ignore[index] # see `_rare`
        link.watches.watch(self)

    def _unwatched_by(self, watcher: Cell) -> None:
        if self._rare is not None:
            self._rare.watchers.pop(watcher, None)
            link = self._node.link_still(self._address.node)
            if link is not None and not self._rare.watchers:
                link.watches.unwatch(self)
        if watcher._rare is not None:
            watcher._rare.watching.pop(self, None)  # type: ignore[call-overload]
        take_back(watcher, lambda ref: ref is self)

    def ended(self, reason: ExitReason | Failure | NodeDown) -> None:
        """Its incarnation has ended, or its node is lost: its watchers are told."""
        if self._rare is None:
            return
        watchers, self._rare.watchers = self._rare.watchers, {}
        for watcher in watchers:
            if watcher._rare is not None:
                watcher._rare.watching.pop(self, None)  # type: ignore[call-overload]
            notify(watcher, Terminated(self, reason))

    def _on_stop(self, callback: Callable[[], None]) -> None:
        """Its own node says when it has stopped, and what was registered of it ends then."""

    def stop(self) -> None:
        self._node.dispatcher.check_thread("stop")
        link = self._node.link(self._address.node)
        if link is not None:
            link.stops.stop(self)

    def _stop_as(self, reason: ExitReason) -> None:
        link = self._spawned_by()
        if link is not None:
            link.stops.stop(self, reason)

    def _end(self) -> Waiter:
        link = self._spawned_by()
        if link is not None:
            return link.stops.wait(self)
        waiter = Waiter(None)
        waiter.resolve()
        return waiter

    def _spawned_by(self) -> Outgoing | None:
        """The link by which this node has spawned it; None: it has not, or it has ended."""
        # (Once this system is being left, its peers stop what it has spawned there.)
        with contextlib.suppress(SystemClosed):
            link = self._node.link(self._address.node)
            if link is not None and self._address.path in link.spawns:
                return link
        return None

    async def stopped(self) -> None:
        """Wait until it has stopped for good, or its node is lost. A checkpoint."""
        self._node.dispatcher.check_thread("stopped")
        await trio.lowlevel.checkpoint_if_cancelled()
        link = self._node.link(self._address.node)
        if link is not None:
            await self._node.wait(link.stops.wait(self))
