"""The history of asks and sends: what a checker of linearizability may believe."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors import (
    Actor,
    ActorFailed,
    ActorStopped,
    ActorSystem,
    AskTimeout,
    Mailbox,
    MailboxFull,
    Request,
    message,
)
from transports import MemoryNetwork, Node
from transports.nodes.history import recording


@message(name="test_history.Add")
class Add(Request[int]):
    number: int


class Register(Actor):
    mailbox = Mailbox(capacity=1)

    def __init__(self) -> None:
        self.number = 0

    async def receive(self, message: Any) -> int:
        if message == "slow":
            await trio.sleep(10)
        if message == "fail":
            raise ValueError(message)
        if isinstance(message, Add):
            self.number += message.number
        return self.number


class Asker(Actor):
    async def receive(self, message: Any) -> Any:
        return await self.context.system.at("actor://demo/register").ask(message)


@contextmanager
def reading(path: Path) -> Iterator[list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []
    yield lines
    lines += [json.loads(line) for line in path.read_text().splitlines()]


def story(lines: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(each["type"], each["kind"], int(each["id"].rpartition("/")[2])) for each in lines]


async def test_each_operation_has_its_beginning_and_its_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "h"
    system = ActorSystem("demo")
    with reading(path) as lines, recording(system, path):
        async with system:
            register = system.spawn(Register, name="register")
            assert await register.ask(Add(2)) == 2
            await register.send(Add(3))
            await trio.sleep(1)
            register.tell(Add(1))  # no operation: nobody hears how it ends
            with pytest.raises(ActorFailed):
                await register.ask("fail")
            with pytest.raises(AskTimeout):
                await register.ask("slow", timeout=1)
    assert story(lines) == [
        ("invoke", "ask", 1),
        ("ok", "ask", 1),
        ("invoke", "send", 2),
        ("ok", "send", 2),
        ("invoke", "ask", 3),
        ("unknown", "ask", 3),
        ("invoke", "ask", 4),
        ("unknown", "ask", 4),
    ]
    first = lines[0]
    assert first["message"] == {"name": "test_history.Add", "version": 1, "fields": {"number": 2}}
    assert (first["to"], first["to_incarnation"]) == ("actor://demo/register", 1)
    assert (first["from"], lines[1]["value"]) == (None, 2)
    assert lines[6]["to_incarnation"] == 2
    assert lines[0]["id"] == f"demo/{lines[0]['incarnation']}/1"


async def test_who_asks_is_named_with_its_incarnation(tmp_path: Path) -> None:
    path = tmp_path / "h"
    system = ActorSystem("demo")
    with reading(path) as lines, recording(system, path):
        async with system:
            system.spawn(Register, name="register")
            assert await system.spawn(Asker, name="asker").ask(Add(2)) == 2
    assert story(lines) == [
        ("invoke", "ask", 1),
        ("invoke", "ask", 2),
        ("ok", "ask", 2),
        ("ok", "ask", 1),
    ]
    assert (lines[1]["from"], lines[1]["from_incarnation"]) == ("actor://demo/asker", 1)


async def test_what_was_surely_not_done_has_failed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "h"
    system = ActorSystem("demo", stop_within=1)
    with reading(path) as lines, recording(system, path):
        async with system:
            register = system.spawn(Register, name="register")
            register.tell("slow")
            await trio.sleep(1)
            register.tell("x")
            with pytest.raises(AskTimeout):
                await register.ask(Add(1), timeout=1)  # it gets no room
            with trio.move_on_after(1):
                await register.send(Add(1))
            with pytest.raises(MailboxFull):
                register.tell("x")
            register.stop()
            with pytest.raises(ActorStopped):
                await register.ask(Add(1))
    assert story(lines) == [
        ("invoke", "ask", 1),
        ("fail", "ask", 1),
        ("invoke", "send", 2),
        ("fail", "send", 2),
        ("invoke", "ask", 3),
        ("fail", "ask", 3),
    ]


async def test_asks_of_another_node_are_recorded_and_lost_ones_are_unknown(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    network = MemoryNetwork()
    path = tmp_path / "h"
    b = ActorSystem("b", transport=Node(network.endpoint("b")))
    a = ActorSystem("a", transport=Node(network.endpoint("a"), peers=["b"]))
    with reading(path) as lines, recording(a, path):
        async with b, a:
            b.spawn(Register, name="register")
            ref = a.at("actor://b/register")
            assert await ref.ask(Add(2)) == 2
            with pytest.raises(AskTimeout):
                await ref.ask("slow", timeout=1)
    assert [each["type"] for each in lines] == ["invoke", "ok", "invoke", "unknown"]
    assert lines[1]["value"] == 2
    node = a._transport
    assert isinstance(node, Node)
    assert {each["incarnation"] for each in lines} == {node.incarnation}


async def test_a_history_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "h"
    path.write_text('{"before": 1}\n')
    system = ActorSystem("demo")
    with recording(system, path):
        async with system:
            await system.spawn(Register, name="register").ask(Add(1))
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
async def test_a_disk_that_is_full_ends_the_history_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    system = ActorSystem("demo")
    with recording(system, "/dev/full"):
        async with system:
            register = system.spawn(Register, name="register")
            assert [await register.ask(Add(1)) for _ in range(3)] == [1, 2, 3]
    assert caplog.text.count("the history /dev/full ends here") == 1


async def test_a_line_that_the_disk_takes_in_parts_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    system = ActorSystem("demo")
    with reading(tmp_path / "h") as lines, recording(system, tmp_path / "h"):
        async with system:
            register = await system.start(Register, name="register")
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", lambda file, data: write(file, data[:7]))
                await register.ask(Add(1))
    assert [line["type"] for line in lines] == ["invoke", "ok"]


async def test_what_follows_half_a_line_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "h"
    path.write_text('{"type":"inv')
    for _ in range(2):
        system = ActorSystem("demo")
        with recording(system, path):
            async with system:
                register = await system.start(Register, name="register")
                await register.ask(Add(1))
    half, *whole = path.read_text().splitlines()
    assert half == '{"type":"inv'
    assert [json.loads(line)["type"] for line in whole] == ["invoke", "ok"] * 2
