"""The actors of one node: one writes numbers into a file, one passes on what it is asked.

Also what `trouper run` runs in the nodes that are no worker processes.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trio

from actors import Actor, ActorError, ActorStopped, ActorSystem, Mailbox, Request, message
from supervision import ChildSpec, OneForOne, Supervisor, child

#: One in so many messages is waited for, so that others queue behind it.
SLOW_EVERY = 128


@message(name="soak.Written")
class Written:
    """A number is in the journal of that process."""

    number: int
    pid: int


@message(name="soak.Failed")
class Failed:
    """An ask of a relay failed. refused: it is certain that nobody has handled the message."""

    kind: str
    refused: bool


@message(name="soak.Write")
class Write(Request[Written]):
    """Write the number down. fail: "before" or "behind" that, raise an exception."""

    number: int
    fail: str = ""


@message(name="soak.PassOn")
class PassOn(Request[Any]):
    """Ask the actor at that address; the reply is Written, or Failed."""

    to: str
    write: Write
    timeout: float


class Planned(Exception):
    """A failure on purpose."""


class Journal(Actor):
    """Each incarnation writes a file of its own: a line for each number."""

    mailbox = Mailbox(capacity=10_000)
    incarnations: Iterator[int] = itertools.count(1)

    def __init__(self, folder: str) -> None:
        name = f"{self.context.system.name}-{os.getpid()}-{next(Journal.incarnations)}.journal"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self.file = os.open(Path(folder) / name, flags, 0o600)

    async def started(self) -> None:
        """Be found."""
        system = self.context.system
        system.register(f"service://journal.{system.name}", self.context.ref)

    async def receive(self, message: Write) -> Written:
        """Write, then reply: what `write` has taken outlives the process."""
        if message.number % SLOW_EVERY == 0:
            await trio.sleep(0.002)
        if message.fail == "before":
            raise Planned
        line = b"%d\n" % message.number
        if os.write(self.file, line) != len(line):
            raise OSError("a line was written in part")
        if message.fail == "behind":
            raise Planned
        return Written(message.number, os.getpid())

    async def stopped(self) -> None:
        """Close the file."""
        os.close(self.file)

    async def restarting(self, _: object) -> None:
        """Close the file."""
        os.close(self.file)


class Relay(Actor):
    """Asks another one."""

    mailbox = Mailbox(capacity=10_000)

    async def started(self) -> None:
        """Be found."""
        system = self.context.system
        system.register(f"service://relay.{system.name}", self.context.ref)

    async def receive(self, message: PassOn) -> Written | Failed:
        """Ask, and say what came of it."""
        try:
            target = self.context.system.at(message.to)
            return await target.ask(message.write, timeout=message.timeout)
        except ActorError as error:
            return failed(error)


class Journals(Supervisor):
    """The actors of one node, started again as often as need be."""

    strategy = OneForOne(max_restarts=None)

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def children(self) -> list[ChildSpec]:
        """A journal and a relay."""
        return [child(Journal, self.folder, name="journal"), child(Relay, name="relay")]


def failed(error: ActorError) -> Failed:
    """What it says of a message: only who was stopped before it began has certainly not had it."""
    refused = isinstance(error, ActorStopped) and not error.started
    return Failed(type(error).__name__, refused)


async def main(system: ActorSystem, folder: str, *, task_status: trio.TaskStatus[None]) -> None:
    """Run the actors of this node until it is stopped, or whoever has started it is gone."""
    logging.disable(logging.CRITICAL)
    await system.start(Journals, folder, name="journals")
    task_status.started()
    # Nothing is written to it: it is readable when it has ended.
    await trio.lowlevel.wait_readable(0)
