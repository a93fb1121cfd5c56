"""What keeps a client connected: it connects, reads, writes, pings, leaves, and begins again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from transports.connection import Broken
from transports.nats import protocol
from transports.nats.connection import Connection, connect
from transports.nats.errors import (
    AuthorizationViolation,
    CannotConnect,
    NatsError,
    PayloadTooLarge,
    ProtocolFault,
    Refused,
)
from transports.nats.events import Connected, Disconnected, Failed, LameDuck
from transports.nats.handshake import State, refusal
from transports.nats.protocol import PING, Event, Message

if TYPE_CHECKING:
    from transports.nats.client import Client

log = logging.getLogger("transports.nats")


class Keeper:
    """The connections of one client, one after another."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._settings = client.settings
        self._scope = trio.CancelScope()
        self._why = ""
        self._leaving = False
        self._unanswered = 0

    async def first(self) -> tuple[Connection, list[Event]]:
        """The first connection.

        Raises:
            Refused: a server has refused this client, and none has taken it.
            CannotConnect: there was none.
        """
        return await self._find(trio.current_time() + self._settings.patience)

    async def run(self, connection: Connection, events: list[Event]) -> None:
        """Keep one connection, and one after it if it ends; until cancelled."""
        again = False
        while True:
            await self._live(connection, events, again)
            again = True
            self._client.statistics.reconnects += 1
            connection, events = await self._find(None)

    def break_off(self, why: str) -> None:
        """End the connection there is; another one follows."""
        self._why = self._why or why
        self._scope.cancel()

    async def _find(self, give_up_at: float | None) -> tuple[Connection, list[Event]]:
        client, settings = self._client, self._settings
        rng = client.env.random("nats", "backoff", client.statistics.reconnects)
        pause = settings.backoff
        while True:
            reasons: list[tuple[str, NatsError | Broken]] = []
            for _ in range(len(client.pool)):
                place = client.pool.next()
                try:
                    return await connect(
                        place,
                        client.terms,
                        settings.connect_within,
                        client.outbox,
                        client._room,
                    )
                except (Broken, Refused, ProtocolFault) as error:
                    log.debug("%s: %s", place, error)
                    reasons.append((str(place), error))
                    if give_up_at is None and isinstance(error, NatsError):
                        client._report(Failed(error))
            if give_up_at is not None and trio.current_time() >= give_up_at:
                for _, reason in reasons:
                    if isinstance(reason, Refused):
                        raise reason
                raise CannotConnect([(place, str(reason)) for place, reason in reasons])
            await trio.sleep(pause * (0.5 + rng.random() / 2))
            pause = min(2 * pause, settings.backoff_at_most)

    async def _live(self, connection: Connection, events: list[Event], again: bool) -> None:
        client = self._client
        self._why = ""
        self._leaving = False
        self._unanswered = 0
        info = connection.handshake.info
        if info.connect_urls is not None:
            client.pool.discovered(info.connect_urls, connection.place)
        for subject, size in client.outbox.remove_larger(info.max_payload):
            client._report(Failed(PayloadTooLarge(subject, size, info.max_payload)))
        client._connected(connection)
        client._report(Connected(str(connection.place), again))
        try:
            with trio.CancelScope() as self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read, connection, events, nursery)
                    nursery.start_soon(self._write, connection)
                    nursery.start_soon(self._ping, connection)
        finally:
            connection.ended()
            in_flight = client._disconnected(self._why or "the client is left")
            await connection.close()
        client._report(Disconnected(str(connection.place), self._why, in_flight))

    async def _read(
        self, connection: Connection, events: list[Event], nursery: trio.Nursery
    ) -> None:
        client = self._client
        subscriptions = client._registry.by_sid
        statistics = client.statistics
        try:
            while True:
                for event in events:
                    if type(event) is Message:
                        statistics.received += 1
                        statistics.received_bytes += len(event.data)
                        subscription = subscriptions.get(event.sid)
                        if subscription is not None:
                            try:
                                subscription.deliver(event)
                            except Exception:
                                # It is the user's: one message must not end the connection.
                                log.exception("%r: a listener has failed", event.subject)
                    else:
                        self._take(connection, event, nursery)
                events = await connection.read()
        except (Broken, ProtocolFault) as error:
            if isinstance(error, ProtocolFault):
                client._report(Failed(error))
            self.break_off(str(error))

    def _take(self, connection: Connection, event: Event, nursery: trio.Nursery) -> None:
        client = self._client
        handshake = connection.handshake
        handshake.received(event)
        if type(event) is protocol.Pong:
            self._unanswered = 0
            waiting = connection.pongs.popleft() if connection.pongs else None
            if waiting is not None:
                waiting()
        elif type(event) is protocol.Error:
            client._refused(event.text)
            if type(error := refusal(str(connection.place), event.text)) is AuthorizationViolation:
                self.break_off(str(error))
        elif type(event) is protocol.Info:
            if event.info.connect_urls is not None:
                client.pool.discovered(event.info.connect_urls, connection.place)
            if handshake.state is State.LEAVING and not self._leaving:
                self._leaving = True
                client._report(LameDuck(str(connection.place)))
                if len(client.pool) > 1:
                    nursery.start_soon(self._leave, connection)
        if data := handshake.outgoing():
            client.outbox.put(data)
            connection.write_now()

    async def _write(self, connection: Connection) -> None:
        try:
            await connection.write()
        except Broken as error:
            self.break_off(str(error))

    async def _ping(self, connection: Connection) -> None:
        while True:
            await trio.sleep(self._settings.ping_every)
            if self._unanswered >= self._settings.pings_unanswered:
                self.break_off(f"silent: {self._unanswered} PINGs without an answer")
            self._unanswered += 1
            connection.pongs.append(None)
            self._client.outbox.put(PING)
            connection.write_now()

    async def _leave(self, connection: Connection) -> None:
        """Let the server answer what it was asked, write nothing new, and go to another one."""
        client = self._client
        with trio.move_on_after(self._settings.leave_within):
            held, answered = trio.Event(), trio.Event()
            connection.hold(held.set)
            await held.wait()
            connection.left_in_order = True
            unwritten = client.outbox.identities()
            client.requests.when_answered(
                answered.set, lambda call: id(call.command) not in unwritten
            )
            await answered.wait()
        self.break_off("the server is about to go")
