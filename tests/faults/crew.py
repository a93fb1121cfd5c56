"""What the worker processes of the tests run, and what the tests share."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from actors import Actor, ActorRef, ActorSystem, Request, message
from supervision import OneForOne, WorkerProcesses
from transports import Limits, Unix

FAST = Limits(heartbeat=0.3, lost_after=0.5, dial_at_most=0.1)
"""A silent worker is lost within some 1.5 seconds."""


@message(name="faults.Do")
class Do(Request[Any]):
    """Ask a Hand to do something; `what` names it."""

    what: str
    value: Any = None


@message(name="faults.Meet")
class Meet(Request[int]):
    """Ask an actor for the process of another one."""

    ref: ActorRef


class Hand(Actor):
    """Does in its process what it is asked to."""

    def __init__(self, greeting: str = "") -> None:
        self.greeting = greeting

    async def receive(self, message: Do | Meet) -> Any:
        if isinstance(message, Meet):
            return await message.ref.ask(Do("pid"), timeout=30)
        match message.what:
            case "pid":
                return os.getpid()
            case "add":
                return sum(message.value)
            case "print":
                print(message.value, flush=True)
            case "complain":
                print(message.value, file=sys.stderr, flush=True)
            case "log":
                logging.getLogger("tests.crew").warning("logged: %s", message.value)
            case "debug":
                logging.getLogger("tests.crew").debug("logged: %s", message.value)
            case "exit":
                print("going now", file=sys.stderr, flush=True)
                os._exit(message.value)
            case "spin":
                end = time.monotonic() + message.value
                while time.monotonic() < end:
                    pass
            case "child":
                process = await trio.lowlevel.open_process([sys.executable, "-c", SLEEP])
                return process.pid
            case "leave a child":
                # A copy of this process that has left its session, with all that is open here.
                if (pid := os.fork()) == 0:
                    os.setsid()
                    time.sleep(600)
                    os._exit(0)
                return pid
            case "folder":
                return message.value
        return None


@message(name="faults.Note")
class Note(Request[int]):
    """Ask a Journal to write a number down, and to tell that it has."""

    number: int


@message(name="faults.Noted")
class Noted:
    """What a Journal tells: which process has written down which number."""

    pid: int
    number: int


class Journal(Actor):
    """Writes numbers down, each after a while, in a file that all processes share."""

    def __init__(self, path: str, listener: ActorRef) -> None:
        self.path = path
        self.listener = listener

    async def receive(self, message: Note | Do) -> int:
        if isinstance(message, Do):
            # From now on it does what a process does that knows nothing of how long it stood still.
            signal.signal(signal.SIGCONT, signal.SIG_DFL)
            return os.getpid()
        await trio.sleep(0.05)
        with open(self.path, "a") as file:
            file.write(f"{os.getpid()} {message.number}\n")
        self.listener.tell(Noted(os.getpid(), message.number))
        return message.number


SLEEP = "import time; time.sleep(600)"


def crew(count: int = 1, **options: Any) -> Callable[..., WorkerProcesses]:
    """What starts workers that take a Hand, and are restarted as often as need be."""
    options = {"strategy": OneForOne(max_restarts=None), **options}
    return partial(WorkerProcesses, count, actors=[Hand], **options)


def a_system(name: str = "s", **options: Any) -> ActorSystem:
    return ActorSystem(name, transport=Unix(limits=FAST), **options)


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number that has not ended (a zombie has)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.02)
