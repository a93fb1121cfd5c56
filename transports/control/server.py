"""The control server of a running actor system."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import trio

from actors import ActorSystem
from transports.control import protocol
from transports.control.commands import Commands, Failed
from transports.control.places import Place, bind, claim, place_of
from transports.control.protocol import BadRequest, Code
from transports.nodes.inspector import inspected

log = logging.getLogger("transports")

CONNECTIONS: Final = 32
"""Clients at a time."""

READ_AT_ONCE: Final = 1 << 16

WRITE_WITHIN: Final = 10.0
"""Seconds that a client may take to read what it asked for, until it is left."""

IDLE_WITHIN: Final = 300.0
"""Seconds that a client may take for its next request, until it is left."""


class Control:
    """What runs for the control socket of one system: see `serve`."""

    def __init__(self, system: ActorSystem, place: Place) -> None:
        self.place = place
        self._observation = inspected(system)
        self._commands = Commands(system, self._observation)
        self._connections = 0

    def set_ready(self) -> None:
        """Say that the program is ready: whoever waits for that goes on."""
        self._observation.ready = True

    async def run(
        self, listener: trio.SocketListener, scope: trio.CancelScope, ended: trio.Event
    ) -> None:
        """Serve until `scope` is cancelled; then set `ended`."""
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._observation.run)
                    # However a connection ends, it cannot end the server.
                    await trio.serve_listeners(self._connected, [listener])
        finally:
            ended.set()

    async def _connected(self, stream: trio.SocketStream) -> None:
        if self._connections >= CONNECTIONS:
            with contextlib.suppress(OSError, trio.BrokenResourceError):
                text = f"{CONNECTIONS} clients are connected already: try again later"
                with trio.move_on_after(WRITE_WITHIN):
                    await stream.send_all(protocol.error(Code.CLOSED, text))
            await stream.aclose()
            return
        self._connections += 1
        try:
            async with stream:
                await Connection(stream, self._commands).serve()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            log.debug("a client of the control socket went away")
        except* Exception as errors:
            # The edge: a fault of one request's code must not stop the program that it asks about.
            log.exception("a request on the control socket failed", exc_info=errors)
        finally:
            self._connections -= 1


class Connection:
    """One client: its requests, one after another."""

    def __init__(self, stream: trio.abc.Stream, commands: Commands) -> None:
        self._stream = stream
        self._commands = commands
        self._lines = protocol.Lines()
        self._came = trio.open_memory_channel[bytes | None](0)

    async def serve(self) -> None:
        """Until the client goes."""
        sending, receiving = self._came
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, sending, nursery.cancel_scope)
            while True:
                with trio.fail_after(IDLE_WITHIN):
                    line = await receiving.receive()
                answered = False
                while not answered:
                    answered, line = await self._answer(line, receiving)

    async def _read(
        self, sending: trio.MemorySendChannel[bytes | None], scope: trio.CancelScope
    ) -> None:
        """Read lines; at the end of the connection, end what is being done for it."""
        while data := await self._stream.receive_some(READ_AT_ONCE):
            for line in self._lines.feed(bytes(data)):
                await sending.send(line)
        scope.cancel()

    async def _answer(
        self, line: bytes | None, receiving: trio.MemoryReceiveChannel[bytes | None]
    ) -> tuple[bool, bytes | None]:
        """Answer one line. Returns True; or False and the next line, which has ended this one."""
        if line is None:
            text = f"a request has at most {protocol.MAX_LINE} bytes, in one line"
            await self._write(protocol.error(Code.BAD_REQUEST, text))
            return True, None
        try:
            request = protocol.decode_request(line)
        except BadRequest as error:
            await self._write(protocol.error(Code.BAD_REQUEST, str(error)))
            return True, None
        following = isinstance(request, protocol.Listen) or (
            isinstance(request, protocol.DeadLetters) and request.follow
        )
        next_line: bytes | None = None
        interrupted = False

        async def until_next_line(scope: trio.CancelScope) -> None:
            nonlocal next_line, interrupted
            next_line = await receiving.receive()
            interrupted = True
            scope.cancel()

        last = protocol.end()
        async with trio.open_nursery() as nursery:
            if following:
                nursery.start_soon(until_next_line, nursery.cancel_scope)
            last = await self._run(request)
            nursery.cancel_scope.cancel()
        await self._write(last)
        return not interrupted, next_line

    async def _run(self, request: protocol.Request) -> bytes:
        """Do what is requested; returns the line that the answer ends with."""
        try:
            return protocol.end(await self._commands.run(request, self._say))
        except Failed as failed:
            return protocol.error(failed.code, failed.text)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            raise
        except Exception as error:
            log.exception("a request on the control socket failed: %s", request)
            return protocol.error(Code.FAILED, f"{type(error).__name__}: {error}")

    async def _say(self, value: Any) -> None:
        await self._write(protocol.item(value))

    async def _write(self, line: bytes) -> None:
        with trio.fail_after(WRITE_WITHIN):
            await self._stream.send_all(line)


@contextlib.asynccontextmanager
async def serve(system: ActorSystem, place: Place | None = None) -> AsyncIterator[Control]:
    """Serve the control socket of a system, for as long as the block runs.

    place: one that is claimed already, by `claim`; None: that of the system's name, claimed here.

    Raises:
        NodeRuns: a node of that name runs here already.
        NoPlace: there can be no socket at that place.
    """
    with contextlib.ExitStack() as stack:
        if place is None:
            place = place_of(system.name)
            stack.enter_context(claim(place))
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(bind(place)))
        control = Control(system, place)
        # Not in a nursery here, which would put what the block raises into a group.
        scope, ended = trio.CancelScope(shield=True), trio.Event()
        system._nursery.start_soon(control.run, listener, scope, ended)
        try:
            yield control
        finally:
            scope.cancel()
            with trio.CancelScope(shield=True):
                await ended.wait()
