"""Running `trouper` as a user does: in processes, from a folder with modules of the user's own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
from click.testing import CliRunner

from transports.cli import main

START = "import sys; from transports.cli import main; sys.argv[0] = 'trouper'; main()"

BATCH = """
import json, sys
from click.testing import CliRunner
from transports.cli import main
ended = []
for args in json.load(sys.stdin):
    done = CliRunner().invoke(main, args, prog_name="trouper")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    ended.append((done.exit_code, done.stdout, done.stderr))
json.dump(ended, sys.stdout)
"""

APP = """
import logging
import time
import trio
from actors import Actor, ActorRef, ActorSystem, Mailbox, Request, message

@message
class Put:
    number: int
    ref: ActorRef | None = None

@message
class Get(Request[int]):
    pass

class Counter(Actor):
    def __init__(self, start="0"):
        self.number = int(start)
    def receive(self, message):
        match message:
            case Put(number):
                if number < 0:
                    raise ValueError("negative")
                self.number += number
            case Get():
                return self.number
    async def stopped(self):
        print("counted", self.number, flush=True)

class Silent(Actor):
    def receive(self, message):
        self.context.reply_later()

class Slow(Actor):
    shutdown = 3600
    async def receive(self, message):
        await trio.sleep(3600)

class Starting(Actor):
    async def started(self):
        print("starting", flush=True)
        await trio.sleep(3600)

class Blocking(Actor):
    async def started(self):
        print("starting", flush=True)
        time.sleep(3600)

async def main(system, start="0", *, task_status):
    logging.disable(logging.CRITICAL)
    counter = await system.start(Counter, start, name="counter")
    system.spawn(Silent, name="silent")
    system.subscribe("topic://orders.*", counter)
    task_status.started()
    try:
        await trio.sleep_forever()
    finally:
        print("cancelled", flush=True)

async def brief(actors: "ActorSystem"):
    counter = actors.spawn(Counter, "5")
    await counter.send(Put(1))
    print(await counter.ask(Get()))
    try:
        await counter.ask(Put(-1))
    except Exception:
        pass
    counter.stop()
    try:
        await counter.ask(Get())
    except Exception:
        pass

async def broken(system):
    raise KeyError("a bug of the user's")

async def slow(system):
    system.spawn(Slow, name="slow").tell("go")
    await trio.sleep_forever()

async def busy(system):
    await trio.sleep(0.01)
    print("busy", flush=True)
    while True:
        pass

async def lingering(system):
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            print("lingers", flush=True)
            await trio.sleep(3600)
"""


@attrs.frozen
class Shell:
    """A folder with the module `app`, and `trouper` in it."""

    folder: Path
    environment: dict[str, str]
    running: list[subprocess.Popen[str]]

    def trouper(self, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end, as a process."""
        return subprocess.run(
            [sys.executable, "-P", "-c", START, *args],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            **more,
        )

    def command(self, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """The same within this process: for what talks to a running node and ends by itself."""
        runner = CliRunner(env=self.environment)
        done = runner.invoke(main, args, prog_name="trouper", **more)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return subprocess.CompletedProcess(args, done.exit_code, done.stdout, done.stderr)

    def batch(self, *commands: Sequence[str]) -> list[subprocess.CompletedProcess[str]]:
        """Several, one after the other, in one other process: for what imports modules of users."""
        done = subprocess.run(
            [sys.executable, "-P", "-c", BATCH],
            cwd=self.folder,
            env=self.environment,
            input=json.dumps(commands),
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [subprocess.CompletedProcess("", *each) for each in json.loads(done.stdout)]

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start it."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", START, *args],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def node(self, *args: str) -> subprocess.Popen[str]:
        """`trouper run ARGS`, when it has said that it is ready."""
        return self.node_at(*args)[0]

    def node_at(self, *args: str) -> tuple[subprocess.Popen[str], str]:
        """The same, and its address, NAME@PLACE."""
        process = self.start("run", *args)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "ready" in line, line + process.communicate(timeout=20)[1]
        return process, line.split()[-1]

    def kill(self) -> None:
        """End whatever runs still."""
        while self.running:
            process = self.running.pop()
            process.kill()
            process.communicate()


def shells(folder: Path, repository: Path) -> Iterator[Shell]:
    """A shell, whose processes are ended afterwards."""
    (folder / "app.py").write_text(APP)
    # The path of a unix socket is short, and those of pytest are long.
    with TemporaryDirectory() as runtime:
        environment = {
            **os.environ,
            "PYTHONPATH": str(repository),
            "PYTHONUNBUFFERED": "1",
            "XDG_RUNTIME_DIR": runtime,
        }
        shell = Shell(folder, environment, [])
        try:
            yield shell
        finally:
            shell.kill()


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    """Send a signal; the exit code, and what was still printed."""
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err
