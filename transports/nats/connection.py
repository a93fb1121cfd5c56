"""One connection with one server: the handshake, then events in and commands out."""

from __future__ import annotations

import os
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import trio

from transports.connection import Broken
from transports.nats.credentials import Credentials
from transports.nats.errors import ProtocolFault, Refused
from transports.nats.handshake import Handshake, State
from transports.nats.info import ServerInfo
from transports.nats.outbox import Outbox
from transports.nats.pool import Place
from transports.nats.protocol import PING, Event, Parser

READ_AT_ONCE: Final = 1 << 16

_ENDED: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.frozen(kw_only=True)
class Terms:
    """What a client wants of each of its connections."""

    name: str
    credentials: Credentials | None
    tls: ssl.SSLContext | None
    tls_hostname: str | None
    tls_first: bool
    echo: bool

    def fields(self, place: Place, info: ServerInfo) -> Mapping[str, Any]:
        """The fields of CONNECT."""
        fields: dict[str, Any] = {
            "verbose": False,
            "pedantic": False,
            "tls_required": self.wants_tls(place),
            "lang": "python-trio",
            "version": "0.1.0",
            "protocol": 1,
            "headers": True,
            "no_responders": True,
            "echo": self.echo,
        }
        if self.name:
            fields["name"] = self.name
        credentials = self.credentials or place.credentials
        if credentials is not None:
            fields.update(credentials.fields(info.nonce))
        return fields

    def wants_tls(self, place: Place) -> bool:
        """Whether nothing is said without TLS, whatever the server says."""
        return place.tls or self.tls is not None or self.tls_first

    def secure(self, stream: trio.abc.Stream, place: Place) -> trio.SSLStream[Any]:
        """The stream with TLS; the handshake is still to be done."""
        context = self.tls or ssl.create_default_context()
        name = self.tls_hostname or place.tls_name or place.host
        return trio.SSLStream(stream, context, server_hostname=name, https_compatible=True)


class Connection:
    """A connection whose handshake is done.

    Attributes: `pongs`, what waits for the next PONGs, in order: functions to call, or None;
    `left_in_order`, whether the server has said that it has all that was written.
    """

    def __init__(
        self,
        place: Place,
        stream: trio.abc.Stream,
        parser: Parser,
        handshake: Handshake,
        outbox: Outbox,
        room: Callable[[], None],
    ) -> None:
        self.place = place
        self.handshake = handshake
        self.pongs: deque[Callable[[], None] | None] = deque()
        self.left_in_order = False
        self._stream = stream
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._parser = parser
        self._outbox = outbox
        self._room = room
        self._unwritten = b""
        self._done = 0
        self._parked: trio.lowlevel.Task | None = None
        self._holding: Callable[[], None] | None = None

    # -- reading

    async def read(self) -> list[Event]:
        """The events that have come; perhaps none.

        Raises:
            Broken: the connection has ended.
            ProtocolFault: what has come is wrong.
        """
        return self._parser.feed(await _receive(self._stream, self._socket))

    # -- writing

    def begin(self, commands: bytes) -> None:
        """What is written before anything of the outbox."""
        self._unwritten = commands

    def wake(self) -> None:
        """There is something in the outbox."""
        task = self._parked
        if task is not None:
            self._parked = None
            trio.lowlevel.reschedule(task)

    def write_now(self) -> None:
        """Write the outbox from this task, if that is possible without waiting; else `wake`."""
        if self._parked is None:
            return
        if self._socket is None or self._holding is not None:
            self.wake()
            return
        data = self._outbox.take()
        try:
            self._done = os.write(self._socket.fileno(), data)
        except OSError:
            # No room; or there is no connection any more, as the writer will find.
            self._done = 0
        if self._done == len(data):
            self._outbox.written()
            if self._outbox:
                self.wake()
        else:
            self._unwritten = data[self._done :]
            self.wake()

    def hold(self, held: Callable[[], None]) -> None:
        """Write nothing more of the outbox; `held` is called when the server has all before."""
        self._holding = held
        self.wake()

    async def write(self) -> None:
        """Write what is in the outbox, and what comes into it; until cancelled.

        Raises:
            Broken: the connection has ended.
        """
        outbox = self._outbox
        while True:
            if self._unwritten:
                await self._write_out()
                outbox.written()
                self._room()
            elif self._holding is not None:
                # PINGs that wait are behind this one now.
                self.pongs.insert(len(self.pongs) - outbox.count(PING), self._holding)
                self._unwritten = PING
                await self._write_out()
                await trio.sleep_forever()
            elif outbox:
                self._unwritten = outbox.take()
                self._done = 0
            else:
                self._parked = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _write_out(self) -> None:
        data, self._unwritten = self._unwritten, b""
        try:
            if self._socket is None:
                # Nobody can know how much of it arrives; it is not written again.
                self._done = len(data)
                await self._stream.send_all(data)
                return
            view = memoryview(data)
            while view:
                try:
                    done = os.write(self._socket.fileno(), view)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._socket)
                else:
                    self._done += done
                    view = view[done:]
        except _ENDED as error:
            raise Broken(text(error)) from error

    def ended(self) -> None:
        """It is of no more use: what was not written is first in the outbox again."""
        self._outbox.broken(self._done)
        self.handshake.ended()

    async def close(self) -> None:
        """Close it, at once."""
        await trio.aclose_forcefully(self._stream)


async def connect(
    place: Place, terms: Terms, within: float, outbox: Outbox, room: Callable[[], None]
) -> tuple[Connection, list[Event]]:
    """A connection with the server at `place`, and the events behind the handshake.

    within: seconds. room: called when the outbox has more room.

    Raises:
        Broken: there is nobody, or it ends, or takes too long.
        Refused, ProtocolFault: as `Handshake`.
    """
    with trio.move_on_after(within):
        try:
            stream: trio.abc.Stream = await trio.open_tcp_stream(place.host, place.port)
        except OSError as error:
            raise Broken(text(error)) from error
        try:
            return await _shake_hands(place, stream, terms, outbox, room)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
    raise Broken(f"it did not answer within {within:g} s")


async def _shake_hands(
    place: Place,
    stream: trio.abc.Stream,
    terms: Terms,
    outbox: Outbox,
    room: Callable[[], None],
) -> tuple[Connection, list[Event]]:
    handshake = Handshake(
        str(place),
        lambda info: terms.fields(place, info),
        secure=terms.tls_first,
        want_tls=terms.wants_tls(place),
    )
    parser = Parser()
    if terms.tls_first:
        stream = await _secure(stream, place, terms)
    events: list[Event] = []
    while handshake.is_new:
        events += parser.feed(await _receive(stream))
        while events and handshake.is_new:
            handshake.received(events.pop(0))
            if handshake.state is State.AWAIT_TLS:
                if events or parser.buffered:
                    # Somebody on the way would have it read as if it had come by TLS.
                    raise ProtocolFault("something behind INFO before TLS has begun")
                stream = await _secure(stream, place, terms)
                handshake.secured()
        if data := handshake.outgoing():
            try:
                await stream.send_all(data)
            except _ENDED as error:
                raise Broken(text(error)) from error
    return Connection(place, stream, parser, handshake, outbox, room), events


async def _secure(stream: trio.abc.Stream, place: Place, terms: Terms) -> trio.abc.Stream:
    secure = terms.secure(stream, place)
    try:
        await secure.do_handshake()
    except _ENDED as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLError):
            raise Refused(str(place), f"TLS: {cause}") from error
        raise Broken(text(error)) from error
    return secure


async def _receive(stream: trio.abc.Stream, socket: Any = None) -> bytes:
    try:
        if socket is None:
            data = bytes(await stream.receive_some(READ_AT_ONCE))
        else:
            # As `receive_some`, without its layers; mostly there is nothing yet.
            await trio.lowlevel.wait_readable(socket)
            # Its number again: closed meanwhile, it may be another file's by now.
            data = os.read(socket.fileno(), READ_AT_ONCE)
    except BlockingIOError:
        return b""
    except _ENDED as error:
        raise Broken(text(error)) from error
    if not data:
        raise Broken("the server has closed it")
    return data


def text(error: BaseException) -> str:
    """Why: trio hides the reason in the cause, and of several attempts in a group."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError):
        # What trio says of one address names that again.
        known = type(cause).__module__ == "builtins" and cause.errno
        return os.strerror(cause.errno or 0) if known else str(cause.strerror or cause)
    return str(error) or str(cause or type(error).__name__)
