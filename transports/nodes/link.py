"""A link: the session with one peer, kept alive over connections that break."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING

import trio

from actors import NodeDown
from transports.connection import Broken, Frames
from transports.errors import DecodeError
from transports.nodes.handshaking import Fenced, objection, shake_hands
from transports.nodes.outgoing import Outgoing
from transports.wire import frames
from transports.wire.handshake import Agreed
from transports.wire.session import Session
from transports.wire.session_states import State

if TYPE_CHECKING:
    from transports.nodes.node import Node

log = logging.getLogger("transports")

Work = Callable[[Frames, trio.CancelScope], Awaitable[None]]


class Link:
    """This node's side of one pair of nodes.

    Attributes: `peer` (its name), `session`, `outgoing`, `incoming` (of the session of now), `up`
    (whether there is a connection), `trouble` (why the last call came to nothing, if the peer was
    there), `unanswered` (why it found nobody, if it did), `fenced` (the peer has refused this
    incarnation: not called).
    """

    def __init__(self, node: Node, peer: str, session: Session) -> None:
        self.node = node
        self.peer = peer
        self.session = session
        self.outgoing = Outgoing(
            node,
            peer,
            session,
            self.wake,
            self.write_now,
            self.give_up,
        )
        self.incoming = node.new_incoming(peer, session, self.outgoing)
        self.up = False
        self.changed = trio.Event()
        self.trouble = ""
        self.unanswered = ""
        self.fence = 0
        self.fenced = False
        self.down_since = node.dispatcher.timers.clock()
        self._wakes: trio.Event | None = None
        self._reading = False
        # The connection, while its writer waits; and that wait.
        self._direct: Frames | None = None
        self._pause = trio.CancelScope()
        self._pause_until = inf
        self._scope: trio.CancelScope | None = None
        self._given_up = ""

    def wake(self) -> None:
        """There is something to write."""
        # Said for each frame: it sets no event for which nobody waits.
        if self._wakes is not None and not self._reading:
            self._wakes.set()
            self._wakes = None

    def write_now(self) -> None:
        """There is something to write that is not to wait for the writer's turn.

        Only where the writer has nothing to do, and the operating system takes it at once.
        """
        connection = self._direct
        if connection is None or self._reading:
            self.wake()
            return
        now = self.node.dispatcher.timers.clock()
        session = self.session
        self.outgoing.unwritten = 0
        self.outgoing.commit()
        written = session.outgoing(now)
        if written and not connection.write_now(written):
            self._direct = None
        if self._direct is None or session.state is State.CLOSED:
            self.wake()
            return
        self._pause_at_most(session.timer_at)

    def _pause_at_most(self, at: float) -> None:
        if at < self._pause_until:
            self._pause_until = at
            self._pause.deadline = self.node.system.env.until(at)

    def write_now_if_urgent(self) -> None:
        """After something was read."""
        self.outgoing.commit()
        if self.session.is_urgent:
            self.write_now()
        else:
            self._pause_at_most(self.session.timer_at)

    def is_busy(self) -> bool:
        """Whether a connection is used or made."""
        return self._scope is not None

    def state(self) -> str:
        """Where its session is, or what is to be done about it; for a person."""
        if self.fenced:
            return "fenced: a later incarnation of this node was there; start it again to return"
        return self.session.state.value

    def is_up(self) -> bool:
        """Whether there is a connection now."""
        return self.up

    @property
    def has_to_say_goodbye(self) -> bool:
        """Whether this node can be left only when the peer has heard more of it.

        If there is no connection at the moment, a goodbye alone is not worth the wait.
        """
        if self.session.state is State.DISCONNECTED:
            return self.outgoing.is_owed
        return self.session.state is State.CONNECTED

    @property
    def says_goodbye(self) -> bool:
        """Whether the peer has still to hear that this node is left."""
        return self.outgoing.is_leaving and self.session.state is not State.CLOSED

    def cut(self) -> None:
        """Give up the connection of now, if there is one; the session stays."""
        if self._scope is not None:
            self._scope.cancel()

    # -- one connection

    async def converse(self, connection: Frames, hello: list[bytes]) -> None:
        """Shake hands, and then carry the session until the connection ends.

        hello: what was read of it already, to find out whose it is. If it is refused, as that of a
        process that was taken for dead and has another one in its place, it ends nothing.
        """
        if hello and (refuse := objection(self, hello[0])) is not None:
            log.debug("%s: %s is refused: %s", self.node.name, self.peer, refuse.text)
            await connection.part([frames.encode_refuse(refuse)])
            return
        self.cut()
        connection.unread(hello)
        with trio.CancelScope() as scope:
            self._scope = scope
            try:
                session = self._next_session()
                agreed = await shake_hands(self, connection, session)
                self._check_current(scope)
                if self.session is not session:
                    raise Broken("the peer was given up within the handshake")
                self._begin(agreed)
                await self._carry(connection, scope)
            except Fenced as error:
                self._is_fenced(error)
            except (Broken, DecodeError) as error:
                level = logging.WARNING if isinstance(error, DecodeError) else logging.DEBUG
                log.log(level, "%s: connection with %s: %s", self.node.name, self.peer, error)
            finally:
                if self._scope is scope:
                    self._scope = None
                    self._end()

    def _is_fenced(self, error: Fenced) -> None:
        """Say so once; the peer, if it calls, may say so again."""
        if not self.fenced:
            self.fenced = True
            log.warning(
                "%s: node %s has fenced this node, and is not called any more: %s. Another process "
                "of this name was started later, or this machine's clock was set back. To return, "
                "leave this system and start it again, with an incarnation that is later",
                *(self.node.name, self.peer, error),
            )

    def _check_current(self, scope: trio.CancelScope) -> None:
        """Nothing that waited may act for a connection that another one has replaced meanwhile.

        It was cancelled, but who was to be woken already hears of that at its next wait only.

        Raises:
            Broken: one has.
        """
        if self._scope is not scope:
            raise Broken("another connection has taken its place")

    def _next_session(self) -> Session:
        """The session to speak of in a handshake."""
        if self.session.state is State.CONNECTED:
            self.session.disconnected()
        if self.session.state is State.CLOSED:
            self.lose("it has left")
        return self.session

    def _begin(self, agreed: Agreed) -> None:
        before = self.session.peer
        if before is not None and not agreed.resumed:
            restarted = agreed.peer.incarnation != before.incarnation
            self.lose("it was restarted" if restarted else "it had given this node up", renew=True)
        is_new = self.session.peer is None
        now = self.node.dispatcher.timers.clock()
        self.session.connected(agreed, now)
        self.up = True
        self.trouble = self.unanswered = ""
        # It has called, and remembers the later incarnation no more.
        self.fenced = False
        self.change()
        if is_new:
            self.node.directory.tell_all(self)
        self.outgoing.flush()
        log.info("%s: connected with %s", self.node.name, self.peer)

    def _end(self) -> None:
        if self.session.state in (State.CONNECTED, State.NEW, State.DISCONNECTED):
            self.session.disconnected()
        if self.up:
            self.up = False
            self.down_since = self.node.dispatcher.timers.clock()
        if self.session.state is State.CLOSED and not self.node.leaving:
            # At once: nobody may ever connect again who would find out.
            self.lose("it has left")
        self.change()

    def change(self) -> None:
        """Wake who waits for `changed`."""
        changed, self.changed = self.changed, trio.Event()
        changed.set()

    async def _carry(self, connection: Frames, scope: trio.CancelScope) -> None:
        ends: list[Exception] = []

        async def until_it_ends(work: Work) -> None:
            try:
                await work(connection, scope)
            except (Broken, DecodeError) as error:
                ends.append(error)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_it_ends, self._read)
            nursery.start_soon(until_it_ends, self._write)
            nursery.start_soon(until_it_ends, self._listen)
        # Of two that met the same end, the first says it all.
        raise ends[0]

    async def _read(self, connection: Frames, scope: trio.CancelScope) -> None:
        clock = self.node.dispatcher.timers.clock
        session, incoming, outgoing = self.session, self.incoming, self.outgoing

        def take(payloads: list[bytes]) -> None:
            self._check_current(scope)
            if scope.cancel_called:
                # It was cut, and its reader has not had its turn yet.
                raise Broken("it was given up")
            now = clock()
            # Of a large frame on a slow network nothing but parts may come for a long time.
            session.heard(now)
            # What is said meanwhile is joined.
            self._reading = True
            try:
                for payload in payloads:
                    for delivery in session.received(payload, now):
                        incoming.deliver(delivery)
                outgoing.acknowledged()
            finally:
                self._reading = False
            if session.peer_closing and session.may_send:
                # It is being left: with our own goodbye it knows that all of its own has arrived.
                outgoing.commit()
                session.close()
            self.write_now_if_urgent()
            if session.state is State.CLOSED:
                raise Broken("the session is closed")

        await connection.read_each(take)

    async def _write(self, connection: Frames, scope: trio.CancelScope) -> None:
        clock = self.node.dispatcher.timers.clock
        session = self.session
        while True:
            self._check_current(scope)
            now = clock()
            self.outgoing.unwritten = 0
            self.outgoing.commit()
            written = session.outgoing(now)
            if written or connection.unwritten:
                await connection.write(written)
                continue
            if session.state is State.CLOSED:
                raise Broken("the session is closed")
            self._wakes = wakes = trio.Event()
            at = session.wake_at(now)
            try:
                self._direct = connection if connection.is_direct else None
                self._pause_until = at
                with trio.CancelScope(deadline=self.node.system.env.until(at)) as self._pause:
                    await wakes.wait()
            finally:
                self._direct = None

    async def _listen(self, connection: Frames, scope: trio.CancelScope) -> None:
        """End a connection on which nothing is heard. (Its writer may be stuck in a write.)"""
        clock = self.node.dispatcher.timers.clock
        session = self.session
        late = self.node.limits.heartbeat / 2
        while (at := session.silent_at) > clock():
            await trio.sleep_until(self.node.system.env.until(at))
            if clock() >= at + late:
                # It is this process that was held up: first let what has come meanwhile be read.
                await trio.sleep(late)
            self._check_current(scope)
        raise Broken("nothing was heard of the peer for too long")

    # -- losing the peer

    def give_up(self, why: str) -> None:
        """Lose the peer, for its own doing, as soon as nothing is in the middle of something."""
        log.warning("%s: node %s is given up: %s", self.node.name, self.peer, why)
        self._given_up = why
        self.cut()
        self.change()

    def lose(self, why: str, renew: bool = False, for_good: bool = False) -> None:
        """The peer is lost: what it had not acknowledged, its replies, its actors.

        renew: it is another process, or has begun another session: ours may keep its number.
        for_good: this link ends with it.
        """
        old = self.session
        self._given_up = ""
        down = NodeDown(self.peer, why)
        # (One that was never there, or is lost already, is given up again and again.)
        level = logging.DEBUG if old.peer is None else logging.INFO
        log.log(level, "%s: node %s is lost: %s", self.node.name, self.peer, why)
        if old.peer is not None:
            # The new session remembers nobody: but what came before this one is over. And who has
            # said goodbye is over itself.
            has_left = old.state is State.CLOSED
            self.fence = max(self.fence, old.peer.incarnation + has_left)
        old.lost()
        self.session = old.renewed() if renew else self.node.new_session(old.number + 1)
        self.incoming.lost()
        self.outgoing.session = self.session
        self.incoming = self.node.new_incoming(self.peer, self.session, self.outgoing)
        # First: what it had not finished is to go to others, and not to its next session.
        self.node.directory.lost(self.peer)
        self.outgoing.lost(down, for_good)
        self.down_since = self.node.dispatcher.timers.clock()

    async def watch_over(self) -> None:
        """Give the peer up once it was out of reach for too long; again and again.

        One that this node does not call is forgotten then, and may call again.
        """
        clock = self.node.dispatcher.timers.clock
        while True:
            changed = self.changed
            if self._given_up:
                self.lose(self._given_up)
            if self.up:
                await changed.wait()
                continue
            at = self.down_since + self.node.limits.lost_after
            with trio.move_on_at(self.node.system.env.until(at)):
                await changed.wait()
            if clock() >= at and not self.is_up():
                ends = not self.is_busy() and self.node.forget(self)
                why = f"it was out of reach for {self.node.limits.lost_after:g} s"
                why += f": {self.trouble}" if self.trouble else ""
                self.lose(why, for_good=ends)
                if ends:
                    # Who waits for this link is to wait for the next one.
                    self.change()
                    return
