"""One process of the operating system, from its start until it is reaped, whatever actors do."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from supervision.processes.host import Invitation
from supervision.processes.reports import FD_VARIABLE, Lines, decode, log_again

if TYPE_CHECKING:
    from actors import ActorSystem

log = logging.getLogger("supervision.processes")
output = logging.getLogger("supervision.processes.output")

LAST_LINES: Final = 20
"""Lines of its stderr that are kept, to tell why it ended."""

DRAIN_WITHIN: Final = 0.5
"""Seconds for the rest of its output, once it has ended: others may have inherited its pipes."""


class ChildProcess:
    """A started process. Its output is logged; when it has ended it is reaped, and that is told.

    pid; ready, ended: events; last_lines: of its stderr.
    """

    def __init__(
        self, node: str, process: trio.Process, reports: int, on_end: Callable[[int], None]
    ) -> None:
        self.node = node
        self.pid = process.pid
        self.ready = trio.Event()
        self.ended = trio.Event()
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._process = process
        self._reports = trio.lowlevel.FdStream(reports)
        self._on_end = on_end
        self._changed = trio.Event()

    @classmethod
    async def start(
        cls, system: ActorSystem, node: str, invitation: Invitation, on_end: Callable[[int], None]
    ) -> ChildProcess:
        """Start a process. `on_end` is called with its pid when it has ended without `stop`.

        It leads a session of its own: Ctrl-C in a terminal is its parent's business, and what it
        has started itself can be killed with it.

        Raises:
            OSError: there can be no such process.
        """
        mine, its = os.pipe()
        try:
            process = await trio.lowlevel.open_process(
                invitation.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**invitation.env, FD_VARIABLE: str(its)},
                pass_fds=(its,),
                start_new_session=True,
            )
        except BaseException:
            os.close(mine)
            raise
        finally:
            os.close(its)
        started = cls(node, process, mine, on_end)
        # No checkpoint between the process and those who see to its end.
        system._nursery.start_soon(started._attend, system, invitation.greeting)
        log.info("%s: process %d was started", node, process.pid)
        return started

    @property
    def returncode(self) -> int | None:
        """As `subprocess` has it: below 0 the signal that killed it; None while it runs."""
        return self._process.returncode

    async def wait_ready(self) -> None:
        """Return when it is ready, or has ended before that."""
        while not (self.ready.is_set() or self.ended.is_set()):
            await self._changed.wait()

    def kill(self) -> None:
        """SIGKILL it, and with it what it has started and is in its group."""
        if self._process.returncode is None:
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, grace: float) -> None:
        """SIGTERM, and after `grace` seconds SIGKILL; 0: at once. Returns when it was reaped.

        If cancelled, it is killed at once, and reaped soon.
        """
        self._on_end = _nothing
        try:
            if grace > 0 and not self.ended.is_set():
                self._process.terminate()
                with trio.move_on_after(grace):
                    await self.ended.wait()
                if not self.ended.is_set():
                    log.warning(
                        "%s: process %d did not end within %g s of SIGTERM: it is killed",
                        self.node,
                        self.pid,
                        grace,
                    )
        finally:
            self.kill()
        await self.ended.wait()

    async def _attend(self, system: ActorSystem, greeting: bytes) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        # As the system's actors, it does not end by a cancellation of what is around the system.
        at_end = system._dispatcher.at_end
        at_end[self.kill] = None
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, process.stdout, self._said)
                nursery.start_soon(self._read, process.stderr, self._complained)
                nursery.start_soon(self._read, self._reports, self._reported)
                nursery.start_soon(self._greet, process.stdin, greeting)
                await process.wait()
                # What it had started ends with it. (While any of them lives, the number is theirs.)
                self._kill_group()
                nursery.cancel_scope.deadline = trio.current_time() + DRAIN_WITHIN
            for stream in (process.stdin, process.stdout, process.stderr, self._reports):
                await stream.aclose()
        at_end.pop(self.kill, None)
        log.info("%s: process %d has ended: %s", self.node, self.pid, how_it_ended(self.returncode))
        self.ended.set()
        self._change()
        self._on_end(self.pid)

    async def _greet(self, stdin: trio.abc.SendStream, greeting: bytes) -> None:
        try:
            await stdin.send_all(greeting)
        except trio.BrokenResourceError:
            log.debug("%s: process %d ended before it was greeted", self.node, self.pid)

    async def _read(self, stream: trio.abc.ReceiveStream, take: Callable[[bytes], None]) -> None:
        lines = Lines()
        while data := await stream.receive_some():
            for line in lines.feed(bytes(data)):
                take(line)
        for line in lines.end():
            take(line)

    def _said(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace")
        output.info("[%s] %s", self.node, text, extra={"worker": self.node})

    def _complained(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace")
        self.last_lines.append(text)
        output.warning("[%s] %s", self.node, text, extra={"worker": self.node})

    def _reported(self, line: bytes) -> None:
        said = decode(line)
        if said is True:
            self.ready.set()
            self._change()
        elif said:
            log_again(self.node, said)
        else:
            self._complained(line)

    def _change(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


def how_it_ended(returncode: int | None) -> str:
    """In words: "exit code 1", "killed by SIGKILL"."""
    if returncode is None:
        return "it runs"
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def _nothing(_: int) -> None:
    """It was to end."""
