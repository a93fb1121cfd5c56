"""A client of NATS: publish, subscribe, request, over a connection that is kept."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType

import trio

from actors.env import Env
from transports.nats import protocol
from transports.nats.connection import Connection, Terms
from transports.nats.credentials import Credentials
from transports.nats.errors import (
    ClientClosed,
    NatsError,
    NotConnected,
    OutboxFull,
    OutcomeUnknown,
    PermissionsViolation,
    RequestTimeout,
)
from transports.nats.events import Event, Failed, Settings, Statistics
from transports.nats.handshake import server_error
from transports.nats.info import ServerInfo
from transports.nats.keeper import Keeper
from transports.nats.outbox import Outbox
from transports.nats.pool import Pool
from transports.nats.protocol import (
    PING,
    Message,
    encode_unsubscribe,
)
from transports.nats.publishing import Publishing
from transports.nats.registry import Registry
from transports.nats.requests import Requests
from transports.nats.subjects import check_pattern, check_queue, check_subject
from transports.nats.subscription import Listening, Subscription

log = logging.getLogger("transports.nats")


class Client:
    """One user of NATS; used as ``async with``, by tasks of one trio run.

    servers: URLs, "nats://host:port" or "tls://host:port", tried in a random order; others of their
        cluster are found. name: shown by the server's monitoring. credentials: see `credentials`;
        None: what the URL has. tls: nothing is said without it; a server may ask for it also if it
        is None. tls_hostname: what the certificate is to name; None: the URL's host. tls_first: TLS
        begins at once, before INFO. inbox: of the subjects that replies come to. on_event: called
        with what happens to the connection; it must not raise. env: chance and ids; None: its own.

    Core NATS delivers at most once: what the server has not processed, or could not give to a
    subscriber, when a connection breaks, is gone. What was not written then is not.

    Raises:
        ValueError: a URL is none. InvalidSubject: `inbox`.
    """

    def __init__(
        self,
        servers: str | Iterable[str] = "nats://127.0.0.1:4222",
        *,
        name: str = "",
        credentials: Credentials | None = None,
        tls: ssl.SSLContext | None = None,
        tls_hostname: str | None = None,
        tls_first: bool = False,
        inbox: str = "_INBOX",
        settings: Settings | None = None,
        on_event: Callable[[Event], None] | None = None,
        env: Env | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.env = env or Env()
        self.pool = Pool(servers, self.env.random("nats", "servers"))
        self.statistics = Statistics()
        self.outbox = Outbox(self.settings.outbox)
        self.terms = Terms(
            name=name,
            credentials=credentials,
            tls=tls,
            tls_hostname=tls_hostname,
            tls_first=tls_first,
            echo=self.settings.echo,
        )
        check_subject(inbox)
        # Nobody else is to guess it and answer in the place of others.
        self._inbox = f"{inbox}.{self.env.nonce(12).hex()}"
        self._inboxes = 0
        self.requests = Requests(self.new_inbox())
        self._on_event = on_event
        self._registry = Registry()
        self._publishing = Publishing(self.outbox, self.statistics)
        self._replies: Listening | None = None
        self._violations: list[PermissionsViolation] = []
        self.when_connected: list[Callable[[], None]] = []
        """Called when there is another connection: what the server knew of the last one is gone."""
        self._waiting_for_room = trio.lowlevel.ParkingLot()
        self._connection: Connection | None = None
        self._found = trio.Event()
        self._closed = "it was not entered"
        self._keeper = Keeper(self)
        # Of its tasks alone: the scope of their nursery is that of the body of `async with`, too.
        self._scope = trio.CancelScope()

    # -- its life

    async def __aenter__(self) -> Client:
        """Connect.

        Raises:
            CannotConnect: no server could be reached.
            Refused: AuthorizationViolation, ServerTooOld, or another reason not to be served.
            ClientClosed: it was entered before.
        """
        if self._closed != "it was not entered":
            raise ClientClosed("it was entered before: make a new one")
        connection, events = await self._keeper.first()
        self._closed = ""
        self._manager = trio.open_nursery()
        nursery = await self._manager.__aenter__()
        nursery.start_soon(self._run, connection, events)
        try:
            await self._found.wait()
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
        try:
            if error is None and not self._closed and len(self.outbox):
                with trio.move_on_after(self.settings.leave_within):
                    await self._written()
        finally:
            self._close("it has been left")
            self._scope.cancel()
            # The body's exception is not the nursery's: it stays what it is, in no group.
            await self._manager.__aexit__(None, None, None)

    async def drain(self, timeout: float = 5.0) -> None:
        """End all subscriptions, have what has come handled and what was published written, close.

        Raises:
            OutcomeUnknown: the connection broke, or time was up, before all of that. It is closed.
        """
        self._check_open()
        try:
            for sid, each in list(self._registry.by_sid.items()):
                if each is not self._replies:
                    self._unsubscribe(sid, keep=True)
            await self.flush(timeout)
        finally:
            self._close("it was drained")
            self._scope.cancel()

    # -- publishing

    def publish(
        self,
        subject: str,
        data: bytes = b"",
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a message, without waiting: it is in the outbox.

        Raises:
            OutboxFull: it was not taken.
            PayloadTooLarge, InvalidSubject, InvalidHeader: it never will be.
            NotConnected: there is no connection, and `Settings.offline` is False.
            ClientClosed: the client was not entered, or has been left.
        """
        answers = check_subject(reply) if reply else b""
        self._publishing.put(subject, data, self._command(subject, data, answers, headers))
        if self._connection is not None:
            self._connection.wake()

    def publish_now(self, subject: str, data: bytes) -> None:
        """As `publish`, for who has nothing more to say: written from this task, if it can be."""
        self._publishing.put(subject, data, self._command(subject, data, b"", None))
        if self._connection is not None:
            self._connection.write_now()

    async def send(
        self,
        subject: str,
        data: bytes = b"",
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """As `publish`, but wait until the outbox has room.

        Raises:
            PayloadTooLarge, InvalidSubject, InvalidHeader, NotConnected, ClientClosed: as there.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                self.publish(subject, data, reply=reply, headers=headers)
            except OutboxFull:
                await self._waiting_for_room.park()
            else:
                return

    async def flush(self, timeout: float = 5.0) -> None:
        """Wait until the server has all that was published before.

        Raises:
            PermissionsViolation: it has refused a subject that was published to since the last
                flush, or since the connection began.
            OutcomeUnknown: the connection broke, or time was up.
            ClientClosed: the client was not entered, or has been left.
        """
        with trio.move_on_after(timeout):
            while True:
                await self.wait_connected()
                connection = self._connection
                assert connection is not None
                done = trio.Event()
                connection.pongs.append(done.set)
                self.outbox.put(PING)
                connection.wake()
                await done.wait()
                if self._connection is connection:
                    break
                if not connection.left_in_order:
                    raise OutcomeUnknown("", "the connection broke")
            if self._violations:
                violation, *self._violations = self._violations
                raise violation
            return
        raise OutcomeUnknown("", f"the server did not answer within {timeout:g} s")

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        *,
        timeout: float = 5.0,
        headers: Mapping[str, str] | None = None,
    ) -> Message:
        """Send a message, and wait for the first reply.

        Without a connection it waits for one, unless `Settings.offline` is False: then one that is
        not written yet when the connection ends ends with it. It is never sent twice.

        Raises:
            NoResponders: nobody is subscribed to that subject.
            RequestTimeout: no reply came in time.
            OutcomeUnknown: the connection broke when it had been sent.
            PermissionsViolation: the server does not let it through.
            PayloadTooLarge, InvalidSubject, InvalidHeader, NotConnected, ClientClosed: as
                `publish`.
            ValueError: the timeout is negative.
        """
        if self._replies is None:
            self._check_open()
            self._replies = self.listen(
                f"{self.requests.prefix}.*", self.requests.answered, on_error=self._no_replies
            )
        if not timeout >= 0:
            raise ValueError(f"timeout: seconds, from 0 up, not {timeout!r}")
        requests, outbox = self.requests, self.outbox
        token = requests.new_token()
        reply = f"{requests.prefix}.{token}".encode()
        command = self._command(subject, data, reply, headers)
        if not outbox.has_room(len(command)):
            timeout = await self._wait_for_room(subject, len(command), timeout)
        self._publishing.put(subject, data, command)
        requests.add(token, subject, command, timeout)
        connection = self._connection
        if connection is not None:
            # One alone is written from here: a task less to wake. Several are one write.
            if len(requests) == 1:
                connection.write_now()
            else:
                connection.wake()
        try:
            return await requests.wait(token)
        finally:
            if self._connection is None:
                outbox.remove(command)

    # -- subscribing

    def subscribe(
        self,
        subject: str,
        *,
        queue: str = "",
        capacity: int = 4096,
        on_full: Callable[[Message], object] | None = None,
    ) -> Subscription:
        """Messages to a subject, to iterate over.

        queue: of the subscriptions in one queue group, one has each message. capacity: messages
        that may wait. Then the newest are dropped, and counted in `dropped`; `on_full` is called
        with each, or if there is none the iteration raises SlowConsumer where they are missing.
        The reader is not held up: that would stop the client's other subscriptions too.

        Raises:
            InvalidSubject, ValueError, ClientClosed.
        """
        self._check(subject, queue)
        sid = self._registry.new_sid()
        subscription = Subscription(self, subject, queue, sid, capacity, on_full)
        self._subscribe(subscription)
        return subscription

    def listen(
        self,
        subject: str,
        callback: Callable[[Message], object],
        *,
        queue: str = "",
        on_error: Callable[[NatsError], object] | None = None,
    ) -> Listening:
        """Have a function called with each message to a subject, by the reader itself.

        It must not block. What it raises is logged. on_error: called when the server refuses the
        subscription.

        Raises:
            InvalidSubject, ClientClosed.
        """
        self._check(subject, queue)
        sid = self._registry.new_sid()
        listening = Listening(self, subject, queue, sid, callback, on_error)
        self._subscribe(listening)
        return listening

    def new_inbox(self) -> str:
        """A subject that nobody else uses."""
        self._inboxes += 1
        return f"{self._inbox}.{self._inboxes}"

    # -- the connection

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def server(self) -> str:
        """host:port of the server; "" while there is no connection."""
        return "" if self._connection is None else str(self._connection.place)

    @property
    def server_info(self) -> ServerInfo:
        """What the server said last of itself.

        Raises:
            NotConnected: there is no connection.
        """
        if self._connection is None:
            raise NotConnected("")
        return self._connection.handshake.info

    async def wait_connected(self) -> None:
        """Return when there is a connection, at once if there is one.

        Raises:
            ClientClosed: there never will be.
        """
        while self._connection is None:
            self._check_open()
            await self._found.wait()
        await trio.lowlevel.checkpoint_if_cancelled()

    def reconnect(self) -> None:
        """Give up this connection for another one: what is in flight is unknown then."""
        self._keeper.break_off("it was asked for")

    # -- of the keeper

    def _connected(self, connection: Connection) -> None:
        self._connection = connection
        self._publishing.max_payload = connection.handshake.info.max_payload
        self._violations.clear()
        connection.begin(self._registry.commands())
        self._found.set()
        for each in tuple(self.when_connected):
            each()

    def _disconnected(self, why: str) -> int:
        """How many requests ended."""
        connection, self._connection = self._connection, None
        self._found = trio.Event() if not self._closed else self._found
        if connection is not None:
            for waiting in connection.pongs:
                if waiting is not None:
                    waiting()
        # Those are sent by the next connection.
        unwritten = self.outbox.identities()
        self._room()
        if not self.settings.offline:
            # Nothing waits for that: it would overtake what was written, and is to be sent again.
            self.requests.fail(NotConnected, lambda call: id(call.command) in unwritten)
        return self.requests.fail(
            lambda subject: OutcomeUnknown(subject, why),
            lambda call: id(call.command) not in unwritten,
        )

    def _room(self) -> None:
        self._waiting_for_room.unpark_all()

    def _report(self, event: Event) -> None:
        log.debug("%s: %s", self.terms.name, event)
        if self._on_event is not None:
            self._on_event(event)

    def _refused(self, text: str) -> None:
        """The server said -ERR."""
        error = server_error(text)
        if isinstance(error, PermissionsViolation):
            subject = error.subject
            if error.operation == "subscription":
                self._registry.refused(subject, error)
            else:
                self._violations = [*self._violations[-63:], error]
                self.requests.fail(
                    lambda subject: PermissionsViolation("publish", subject),
                    lambda call: call.subject == subject,
                )
        self._report(Failed(error))

    def _no_replies(self, error: NatsError) -> None:
        self._replies = None
        self.requests.fail(lambda _: error)

    # -- private

    async def _run(self, connection: Connection, events: list[protocol.Event]) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keeper.run, connection, events)
                nursery.start_soon(self.requests.run)

    def _command(
        self, subject: str, data: bytes, reply: bytes, headers: Mapping[str, str] | None
    ) -> bytes:
        self._check_may_send(subject)
        return self._publishing.command(subject, data, reply, headers)

    def _check_may_send(self, subject: str) -> None:
        self._check_open()
        if self._connection is None and not self.settings.offline:
            raise NotConnected(subject)

    def _check(self, subject: str, queue: str) -> None:
        check_pattern(subject)
        if queue:
            check_queue(queue)
        self._check_open()

    def _subscribe(self, listening: Listening) -> None:
        command = self._registry.add(listening)
        if self._connection is not None:
            self.outbox.put(command)
            self._connection.wake()

    def _unsubscribe(self, sid: int, *, keep: bool = False) -> None:
        """keep: what the server has sent before is still delivered."""
        if sid in self._registry.by_sid:
            if not keep:
                del self._registry.by_sid[sid]
            if self._connection is not None:
                self.outbox.put(encode_unsubscribe(sid))
                self._connection.wake()

    async def _wait_for_room(self, subject: str, size: int, timeout: float) -> float:
        """The time that is left then."""
        began = trio.current_time()
        with trio.move_on_after(timeout):
            while not self.outbox.has_room(size):
                await self._waiting_for_room.park()
                self._check_may_send(subject)
            return max(0.0, timeout - (trio.current_time() - began))
        raise RequestTimeout(subject, timeout)

    async def _written(self) -> None:
        while len(self.outbox):
            await self._waiting_for_room.park()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed(self._closed)

    def _close(self, why: str) -> None:
        if self._closed:
            return
        self._closed = why
        self._found.set()
        self.requests.fail(lambda _: ClientClosed(why))
        self._registry.end(list(self._registry.by_sid))
        self._room()
        if lost := self.outbox.drop():
            log.warning("%s: %d messages were not sent", self.terms.name or "NATS", lost)
            self._report(Failed(ClientClosed(f"{why}, and {lost} messages were not sent")))
