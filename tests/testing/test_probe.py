"""A probe stands where an actor is expected."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from actors import AskTimeout, ExitReason, Terminated
from actors.testing import Probe
from tests.actors.kit import Checked, Doer


async def test_it_waits_for_what_is_expected_and_returns_it(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        probe = Probe(system, name="probe")
        assert str(probe.ref) == "actor://s/probe"
        other = system.spawn(Doer)
        other.tell(lambda actor: actor.context.after(0.5, lambda _: probe.ref.tell(7)) and None)
        assert await probe.expect(int) == 7
        probe.ref.tell("a")
        probe.ref.tell("bc")
        assert await probe.expect(str, where=lambda text: text == "a") == "a"
        assert await probe.expect(str) == "bc"
        assert probe.messages == (7, "a", "bc")
        await probe.expect_none(within=3)


async def test_what_comes_instead_is_said(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        probe = Probe(system)
        for message in ("a", "b", 3):
            probe.ref.tell(message)
        assert await probe.expect(str) == "a"
        with pytest.raises(AssertionError, match=r"a str that fits and got 'b' \(before: 'a'\)"):
            await probe.expect(str, where=lambda text: text == "a")
        with pytest.raises(AssertionError, match="a str and got a int, 3"):
            await probe.expect(str)
        with pytest.raises(AssertionError, match=r"got nothing within 2 s \(before: 'a', 'b', 3\)"):
            await probe.expect(str, within=2)
        probe.ref.tell("x")
        with pytest.raises(AssertionError, match="expected nothing and got 'x'"):
            await probe.expect_none()


async def test_what_has_come_already_is_there_within_no_time(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        probe = Probe(system)
        probe.ref.tell(1)
        probe.ref.tell(2)
        await trio.testing.wait_all_tasks_blocked()
        assert await probe.expect(int, within=0) == 1
        with pytest.raises(AssertionError, match="nothing and got 2"):
            await probe.expect_none(within=0)
        with pytest.raises(AssertionError, match="an? int and got nothing within 0 s"):
            await probe.expect(int, within=0)
        for within in (-1, float("inf")):
            with pytest.raises(ValueError, match="within"):
                await probe.expect(int, within=within)


async def test_one_of_several_types_can_be_expected(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        probe = Probe(system)
        probe.ref.tell(b"x")
        probe.ref.tell(3)
        assert await probe.expect(str | bytes) == b"x"  # type: ignore[arg-type]
        with pytest.raises(AssertionError, match=r"a str \| bytes and got a int, 3"):
            await probe.expect(str | bytes)  # type: ignore[arg-type]


async def test_it_answers_asks_by_hand_or_by_a_function(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        probe = Probe(system)
        replies: list[Any] = []

        async def ask() -> None:
            replies.append(await probe.ref.ask("how many?"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await probe.expect(str)
            probe.reply(42)
        assert replies == [42]
        with pytest.raises(AssertionError, match="no ask to reply to"):
            probe.reply(43)
        with pytest.raises(AskTimeout):
            await probe.ref.ask("nobody answers", timeout=1)
        doubling = Probe(system, reply=lambda number: 2 * number)
        assert await doubling.ref.ask(21) == 42
        assert await doubling.expect(int) == 21


async def test_it_watches(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        probe = Probe(system)
        ref = system.spawn(Doer)
        probe.watch(ref)
        ref.stop()
        assert await probe.expect(Terminated) == Terminated(ref, ExitReason.NORMAL)
