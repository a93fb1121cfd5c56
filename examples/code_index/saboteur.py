"""The actor that kills and freezes worker processes, when it is asked to."""

import contextlib
import os
import signal
from typing import Literal

import attrs

from actors import Actor, ActorRef
from examples.code_index.messages import Progress, Thaw
from supervision import WhichChildren, WhichProcess


@attrs.frozen
class Plan:
    """After how many files each a process is killed, or frozen for so many seconds. None: never."""

    kill: int | None
    freeze: int | None
    frozen_for: float


class Saboteur(Actor):
    """Kills or freezes a worker process, drawn by the seed, each time that so many files are done.

    Nobody is warned: that the index is right all the same is what it is to show.
    """

    def __init__(self, workers: ActorRef, plan: Plan) -> None:
        self.workers = workers
        self.plan = plan
        self.frozen: list[int] = []

    async def receive(self, message: Progress | Thaw) -> None:
        """Strike if it is time for that."""
        match message:
            case Progress(done, total, complete):
                if complete and done == total:
                    return  # There is nothing left to disturb.
                if self.plan.kill and done % self.plan.kill == 0:
                    await self.strike("kill", done)
                if self.plan.freeze and done % self.plan.freeze == 0:
                    await self.strike("freeze", done)
            case Thaw():
                self.thaw()

    async def strike(self, how: Literal["kill", "freeze"], done: int) -> None:
        """Kill or freeze one of the processes that run now."""
        children = await self.workers.ask(WhichChildren())
        workers = [each.ref for each in children if each.ref and each.state == "running"]
        if not workers:
            return  # All of them are being restarted.
        worker = self.context.system.env.random("saboteur", how, done).choice(workers)
        process = await worker.ask(WhichProcess(), timeout=None)
        with contextlib.suppress(ProcessLookupError):
            if how == "kill":
                os.kill(process.pid, signal.SIGKILL)
                return
            # The number of a process may be another's by the time of the thaw; this never is.
            self.frozen.append(os.pidfd_open(process.pid))
            os.kill(process.pid, signal.SIGSTOP)
            self.context.after(self.plan.frozen_for, Thaw())

    def thaw(self) -> None:
        """Let the process go on that was frozen first, if nobody has killed it."""
        process = self.frozen.pop(0)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGCONT)
        os.close(process)

    async def stopped(self) -> None:
        """Leave no process frozen."""
        while self.frozen:
            self.thaw()
