"""The chat: what can be typed, and three real processes on unix sockets, one of which is killed."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from examples.chat.commands import HELP, Quit, WrongLine, read_line
from examples.chat.messages import Join, Say, Who
from examples.chat.terminal import show

START = "import sys; from transports.cli import main; sys.argv[0] = 'trouper'; main()"


class Person:
    """A process of the chat, and what it has printed."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.changed = trio.Event()

    async def type(self, *lines: str) -> None:
        """Type lines."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all("".join(f"{line}\n" for line in lines).encode())

    async def sees(self, line: str, times: int = 1) -> None:
        """Wait until this line has been printed."""
        with trio.move_on_after(20):
            while self.lines.count(line) < times:
                await self.changed.wait()
            return
        raise AssertionError(f"{line!r} does not come after {self.lines}")

    async def read(self) -> None:
        """Collect what it prints."""
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            self.lines += [line.decode() for line in lines]
            changed, self.changed = self.changed, trio.Event()
            changed.set()


@asynccontextmanager
async def people(repository: Path, *names: str) -> AsyncIterator[list[Person]]:
    """A chat in a folder of its own, each joined to those before; in the end all are gone."""
    with tempfile.TemporaryDirectory() as folder:
        sockets = [f"{folder}/{name}" for name in names]
        async with trio.open_nursery() as nursery:
            found: list[Person] = []
            try:
                for number, name in enumerate(names):
                    joins = [f"--join={each}" for each in sockets[:number]]
                    node = ["--name", name, "--listen", sockets[number], *joins]
                    target = ["--lost-after", "0.5", "examples.chat"]
                    process = await trio.lowlevel.open_process(
                        [sys.executable, "-P", "-c", START, "run", *node, *target],
                        cwd=repository,
                        env={
                            **os.environ,
                            "PYTHONPATH": str(repository),
                            "PYTHONUNBUFFERED": "1",
                            "XDG_RUNTIME_DIR": folder,
                        },
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                    )
                    found.append(Person(process))
                    nursery.start_soon(found[-1].read)
                for person, name in zip(found, names, strict=True):
                    for other in names:
                        if other != name:
                            await person.sees(f"* {other} is here")
                yield found
            finally:
                with trio.CancelScope(shield=True):
                    for person in found:
                        person.process.kill()
                        await person.process.wait()


async def test_lines_reach_those_in_the_room_and_a_killed_process_is_announced(
    repository: Path,
) -> None:
    async with people(repository, "ada", "bob", "cleo") as (ada, bob, cleo):
        # All hear each one in the order typed.
        await ada.type(*(f"a{number}" for number in range(50)))
        await bob.type(*(f"b{number}" for number in range(50)))
        await cleo.sees("[lobby] ada: a49")
        await cleo.sees("[lobby] bob: b49")
        for name, letter in (("ada", "a"), ("bob", "b")):
            heard = [line for line in cleo.lines if line.startswith(f"[lobby] {name}:")]
            assert heard == [f"[lobby] {name}: {letter}{number}" for number in range(50)]

        # In another room nothing is heard of the first one, and the other way round.
        await cleo.type("/join tea")
        await ada.sees("* cleo has left the room")
        await bob.sees("* cleo has left the room")
        await cleo.type("of tea")
        await ada.type("of the lobby")
        await bob.sees("[lobby] ada: of the lobby")
        await cleo.type("/who")
        await cleo.sees("* in tea: cleo")
        await bob.type("/join tea")
        await cleo.sees("* bob is here", times=2)
        await bob.sees("* cleo is here", times=2)
        await cleo.type("welcome")
        await bob.sees("[tea] cleo: welcome")
        assert not [line for line in (*ada.lines, *bob.lines) if "of tea" in line]
        assert not [line for line in cleo.lines if "of the lobby" in line]
        assert not [line for line in ada.lines if "welcome" in line]

        # The lines of the killed one that others have seen stay; its end is told.
        await ada.type("/join tea")
        await ada.sees("* bob is here", times=2)
        bob.process.kill()
        for person in (ada, cleo):
            await person.sees("* bob is lost: it was out of reach for 0.5 s")
        await cleo.type("/who", "still here")
        await cleo.sees("* in tea: cleo, ada")
        await ada.sees("[tea] cleo: still here")

        # Who leaves in good order is told of too, and the end of the input is such an end.
        await cleo.type("/quit")
        await ada.sees("* cleo has left")
        assert await cleo.process.wait() == 0
        assert ada.process.stdin is not None
        await ada.process.stdin.aclose()
        assert await ada.process.wait() == 0


async def test_who_was_out_of_reach_is_here_again_when_it_is_back(repository: Path) -> None:

    async with people(repository, "ada", "bob") as (ada, bob):
        bob.process.send_signal(signal.SIGSTOP)
        await ada.sees("* bob is lost: it was out of reach for 0.5 s")
        bob.process.send_signal(signal.SIGCONT)
        await ada.sees("* bob is here", times=2)
        await bob.type("what was that?")
        await ada.sees("[lobby] bob: what was that?")


def test_a_line_is_an_order_or_is_said() -> None:
    assert read_line("") is read_line("  ") is None
    assert read_line("/join tea") == Join("tea")
    assert read_line(" /leave ") == Join(None)
    assert read_line("/who") == Who()
    assert isinstance(read_line("/quit"), Quit)
    assert read_line(" 1/2 of  it ") == Say("1/2 of  it")


@pytest.mark.parametrize("line", ["/join", "/join a b", "/who is", "/x", "/", "/help"])
def test_what_is_no_order_says_what_is_one(line: str) -> None:
    with pytest.raises(WrongLine) as caught:
        read_line(line)
    assert str(caught.value).endswith(HELP)


@pytest.mark.parametrize("room", ["a.b", "*", "**", "a/b", "a?b"])
def test_a_room_is_one_word_of_a_topic(room: str) -> None:
    with pytest.raises(WrongLine, match="no name for a room"):
        read_line(f"/join {room}")


def test_what_others_typed_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    show("[lobby] bob: \x1b[2Jgone\r\x07 ünïcode")
    assert capsys.readouterr().out == "[lobby] bob: ?[2Jgone?? ünïcode\n"
