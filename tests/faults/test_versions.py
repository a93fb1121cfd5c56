"""Nodes that speak different versions of the protocol refuse each other, and both say so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import ActorStopped, ActorSystem
from tests.transports.kit import Do, Get, Remote
from transports import Limits, Tcp, Unix
from transports.wire import introduction
from transports.wire.introduction import Introduction

SECRET = b"sixteen bytes or more"
LIMITS = Limits(dial_at_most=0.05, lost_after=0.3)

SAID = {
    "old": "old: new is refused: new speaks version 2 of the protocol, old version 1",
    "new": "new: old is refused: old speaks version 1 of the protocol, new version 2",
}


@pytest.fixture(autouse=True)
def _new_speaks_version_2(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(me: str, *args: Any, **more: Any) -> Introduction:
        return Introduction(me, *args, **more, version=2 if me == "new" else 1)

    monkeypatch.setattr("transports.introducing.Introduction", made)


def node(kind: str, folder: Path, *peers: str, listens: bool, secret: bytes | None) -> Tcp | Unix:
    more: dict[str, Any] = {"peers": peers, "limits": LIMITS, "secret": secret}
    if kind == "tcp":
        return Tcp("127.0.0.1:0" if listens else None, **more)
    return Unix(folder / "node" if listens else None, **more)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


async def until_said(caplog: pytest.LogCaptureFixture, count: int) -> None:
    with trio.fail_after(10):
        while len(warnings(caplog)) < count:
            await trio.sleep(0.005)


@pytest.mark.parametrize("secret", [None, SECRET])
@pytest.mark.parametrize("caller", ["old", "new"])
@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_both_sides_say_who_speaks_which_version_and_no_message_arrives(
    kind: str, caller: str, secret: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    called = "new" if caller == "old" else "old"
    server = node(kind, tmp_path, listens=True, secret=secret)
    async with ActorSystem(called, transport=server) as there:
        remote = there.spawn(Remote, name="actor")
        client = node(kind, tmp_path, server.address, listens=False, secret=secret)
        async with ActorSystem(caller, transport=client) as here:
            ref = here.at(f"actor://{called}/actor")
            ref.tell(Do("note", 1))
            # Who waits for the peer is told why it cannot be reached, and not only that.
            with pytest.raises(ActorStopped) as caught:
                await ref.ask(Get(), timeout=None)
            versions = SAID[caller].rpartition(": ")[2]
            assert str(caught.value).endswith(f"it was out of reach for 0.3 s: {versions}")
            await until_said(caplog, 2)
            # It tries again and again, and logs that once.
            assert sorted(warnings(caplog)) == sorted(SAID.values())
            assert list(server.links()) == []
            assert not any(link.up for link in client.links())
        assert await remote.ask(Get()) == []
        assert there.ledger.missing == 0


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_of_a_version_whose_introduction_is_another_the_place_is_said(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only kind, magic and version are promised to be the same: its name cannot be read.
    def introduced(me: str, *args: Any, **more: Any) -> Introduction:
        made = Introduction(me, *args, **more, version=2 if me == "new" else 1)
        if me == "new":
            made._outgoing = [made._mine[: introduction._PREFIX.size] + b"anything"]
        return made

    monkeypatch.setattr("transports.introducing.Introduction", introduced)
    server = node(kind, tmp_path, listens=True, secret=SECRET)
    async with ActorSystem("old", transport=server):
        client = node(kind, tmp_path, server.address, listens=False, secret=SECRET)
        async with ActorSystem("new", transport=client):
            await until_said(caplog, 2)
        place = "127.0.0.1" if kind == "tcp" else "a unix socket"
        assert sorted(warnings(caplog)) == [
            SAID["new"],
            f"old: somebody at {place} is refused: "
            "the peer speaks version 2 of the protocol, old version 1",
        ]


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_a_refusal_by_a_node_that_says_no_more_than_that_is_logged_in_its_words(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As one might that finds out before it has introduced itself.
    text = "old speaks version 1 of the protocol, new version 2"

    def introduced(me: str, *args: Any, **more: Any) -> Introduction:
        made = Introduction(me, *args, **more)
        if me == "new":
            made._outgoing = []
            made.refuse(introduction.Reason.VERSION, text)
        return made

    monkeypatch.setattr("transports.introducing.Introduction", introduced)
    server = node(kind, tmp_path, listens=True, secret=SECRET)
    async with ActorSystem("new", transport=server):
        client = node(kind, tmp_path, server.address, listens=False, secret=SECRET)
        async with ActorSystem("old", transport=client):
            await until_said(caplog, 2)
            assert f"old: new has refused this node: {text}" in warnings(caplog)
