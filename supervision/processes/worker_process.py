"""The actor that stands for one worker process: it starts, watches and stops it."""

from __future__ import annotations

import contextlib
from typing import Any, Final, Protocol

import attrs
import trio

from actors import (
    Actor,
    ExitReason,
    Failure,
    NodeDown,
    Request,
    SystemClosed,
    Terminated,
    message,
)
from actors.messages import notice
from supervision.errors import WorkerExited, WorkerLost
from supervision.processes.host import Invitation
from supervision.processes.process import ChildProcess, how_it_ended

WORKER: Final = "worker"
"""The path of the actor in the worker that is watched from here."""


@attrs.frozen
class ProcessInfo:
    """A worker's process now. node: its name; pid: of the operating system."""

    node: str
    pid: int


@message(name="supervision.WhichProcess")
class WhichProcess(Request[ProcessInfo]):
    """Ask a WorkerProcess for its process. While it is restarted, the answer waits for the next."""


@notice
@attrs.frozen
class _Ended:
    """A process has ended; maybe that of an incarnation before this one."""

    pid: int


class JoinsHost(Protocol):
    """What a WorkerProcess needs of its host."""

    def invite(self, node: str) -> Invitation:
        """See WorkerHost."""

    async def joined(self, node: str) -> None:
        """See WorkerHost."""

    async def gone(self, node: str, why: str) -> None:
        """See WorkerHost."""


class WorkerProcess(Actor):
    """One process: started with the actor, restarted with it, and ended with it.

    It has started when the process is ready and its node is connected. It fails with WorkerExited
    when the process ends, and with WorkerLost when its node is silent or lost; a process that is
    still there then is killed before the next one starts. A stop is SIGTERM, and SIGKILL after
    `grace` seconds. Made by WorkerProcesses.
    """

    def __init__(self, host: JoinsHost, node: str, start_within: float, grace: float) -> None:
        self._host = host
        self._node = node
        self._start_within = start_within
        self._grace = grace
        self._process: ChildProcess | None = None

    def state_summary(self) -> dict[str, object]:
        """Its node and process."""
        pid = None if self._process is None else self._process.pid
        return {"node": self._node, "pid": pid}

    async def started(self) -> None:
        """Start the process, and wait until it has joined.

        Raises:
            WorkerExited: it ended before that.
            WorkerLost: it was not ready, or not connected, within `start_within` seconds.
            OSError: there can be no process.
        """
        context, ref = self.context, self.context.ref

        def tell(pid: int) -> None:
            # A system that has crashed runs no more actors.
            with contextlib.suppress(SystemClosed):
                ref.tell(_Ended(pid))

        self._watched = context.system.at(f"actor://{self._node}/{WORKER}")
        process = self._process = await ChildProcess.start(
            context.system,
            self._node,
            self._host.invite(self._node),
            tell,
        )
        try:
            with trio.move_on_after(self._start_within):
                await process.wait_ready()
                if process.ended.is_set():
                    raise self._exited(process)
                await self._host.joined(self._node)
                context.watch(self._watched)
                return
            why = "not connected" if process.ready.is_set() else "not ready"
            raise WorkerLost(
                self._node, process.pid, f"{why} within {self._start_within:g} s of its start"
            )
        except BaseException:
            # A child whose first start fails has no hook that would do it. (It is killed at once.)
            with trio.CancelScope(shield=True):
                await self._end(0.0)
            raise

    def receive(self, message: Any) -> Any:
        """Answer WhichProcess; fail when the process has ended, or its node is lost.

        Raises:
            WorkerExited, WorkerLost: as said above.
        """
        process = self._process
        assert process is not None
        match message:
            case WhichProcess():
                return ProcessInfo(self._node, process.pid)
            case _Ended(pid):
                if pid == process.pid:
                    raise self._exited(process)
                return None
            case Terminated(_, reason):
                if process.ended.is_set():
                    raise self._exited(process)
                raise WorkerLost(self._node, process.pid, _in_words(reason))
        raise TypeError(f"a WorkerProcess has no handler for {type(message).__name__}")

    async def stopped(self) -> None:
        """End the process; it has a grace."""
        await self._end(self._grace)

    async def restarting(self, failure: Failure) -> None:
        """End the process. It has a grace only where it was not its own failure."""
        is_own = failure.ref == self.context.ref
        await self._end(0.0 if is_own else self._grace)

    async def _end(self, grace: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # What comes of its end is no news to the next incarnation.
        self.context.unwatch(self._watched)
        await process.stop(grace)
        await self._host.gone(
            self._node, f"its process has ended: {how_it_ended(process.returncode)}"
        )

    def _exited(self, process: ChildProcess) -> WorkerExited:
        code = process.returncode
        lines = tuple(process.last_lines)
        return WorkerExited(self._node, process.pid, code, lines, how_it_ended(code))


def _in_words(reason: ExitReason | Failure | NodeDown) -> str:
    if isinstance(reason, NodeDown):
        return reason.why
    return "its system is being left" if isinstance(reason, ExitReason) else reason.describe()
