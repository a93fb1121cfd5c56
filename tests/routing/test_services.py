"""Service discovery with load balancing."""

from __future__ import annotations

import collections
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorFailed, ActorStopped, DeadLetterReason, InvalidAddress, ServiceRef
from tests.actors.kit import Checked, Doer, Recorder, fail, nap


async def test_each_message_goes_to_one_instance_by_weight() -> None:
    async with Checked("s") as system:
        for name, weight in (("a", 3), ("b", 1)):
            system.register("service://x", system.spawn(Doer, name=name), weight=weight)
        service = system.at("service://x")
        who = [await service.ask(lambda actor: actor.context.ref.name) for _ in range(8)]
        assert collections.Counter(who) == {"a": 6, "b": 2}
        # Smoothly: never all of one first.
        assert who[:4] != ["a", "a", "a", "b"]


async def test_lookups_see_an_instances_death() -> None:
    async with Checked("s") as system:
        refs = [system.spawn(Doer) for _ in range(2)]
        for version, ref in enumerate(refs):
            system.register("service://x", ref, version=str(version))
        service = system.at("service://x")
        assert isinstance(service, ServiceRef)
        assert [each.version for each in service.instances] == ["0", "1"]
        refs[0].stop()
        await refs[0].stopped()
        assert [each.ref for each in service.instances] == [refs[1]]
        system.unregister("service://x", refs[1])
        system.unregister("service://x", refs[1])
        assert service.instances == ()
        service.tell("x")
        await service.send("y")
        with pytest.raises(ActorStopped, match="no instance of the service is alive") as caught:
            await service.ask("z")
        assert not caught.value.started
        assert [each.reason for each in system.dead_letters.recent] == [
            DeadLetterReason.NO_INSTANCE
        ] * 2


async def test_another_instance_is_asked_only_if_the_first_never_began(
    autojump_clock: Any,
) -> None:
    class Brief(Doer):
        shutdown = 1.0

    async with Checked("s") as system:
        busy, other = system.spawn(Brief, name="busy"), system.spawn(Doer, name="other")
        system.register("service://x", busy, weight=100)
        system.register("service://x", other)
        service = system.at("service://x")
        busy.tell(nap(1e6))
        await wait_all_tasks_blocked()
        replies: list[Any] = []

        async def ask() -> None:
            replies.append(await service.ask(lambda actor: actor.context.ref.name, timeout=None))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            busy.stop()
        # It was queued at the busy one when that was killed.
        assert replies == ["other"]


async def test_what_had_begun_is_not_asked_again(autojump_clock: Any) -> None:
    class Brief(Doer):
        shutdown = 1.0

    log: list[str] = []

    async def begins(actor: Any) -> None:
        log.append(actor.context.ref.name)
        await trio.sleep(1e6)

    async with Checked("s") as system:
        refs = [system.spawn(Brief, name=name) for name in "ab"]
        for ref in refs:
            system.register("service://x", ref)
        errors: list[ActorStopped] = []

        async def ask() -> None:
            with pytest.raises(ActorStopped) as caught:
                await system.at("service://x").ask(begins, timeout=None)
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            refs[0].stop()
        assert errors[0].started
        assert log == ["a"]


async def test_a_failure_is_not_retried() -> None:
    async with Checked("s", max_restarts=None) as system:
        for _ in range(2):
            system.register("service://x", system.spawn(Doer))
        with pytest.raises(ActorFailed):
            await system.at("service://x").ask(fail)
        assert system.ledger.failed == 1


async def test_nonsense_is_refused() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Recorder)
        with pytest.raises(ValueError, match="weight is an int"):
            system.register("service://x", ref, weight=0)
        with pytest.raises(TypeError, match="is a service"):
            system.at("service://x").stop()
        assert system.at("service://x").instances == ()  # type: ignore[attr-defined]
        with pytest.raises(TypeError, match=r"register\(\) takes the ref of one actor"):
            system.register("service://x", "me")  # type: ignore[arg-type]
        with pytest.raises(InvalidAddress, match="a service's name has only"):
            system.register("service://x.*", ref)
