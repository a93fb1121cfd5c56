"""Service discovery with load balancing."""

from __future__ import annotations

import collections
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorFailed,
    ActorStopped,
    Address,
    AskTimeout,
    DeadLetterReason,
    InvalidAddress,
    ServiceRef,
)
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


async def test_an_ask_that_timed_out_is_not_asked_again(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        busy, other = system.spawn(Doer, name="busy"), system.spawn(Doer, name="other")
        system.register("service://x", busy, weight=100)
        system.register("service://x", other)
        busy.tell(nap(10))
        log: list[str] = []
        # Its time is up while it waits in the mailbox: it would be safe, but the time is up.
        with pytest.raises(AskTimeout) as queued:
            await system.at("service://x").ask(lambda actor: log.append("began"), timeout=1)
        assert queued.value.where == "queued"
        await trio.sleep(20)
        with pytest.raises(AskTimeout) as handled:
            await system.at("service://x").ask(nap(5), timeout=1)
        assert handled.value.where == "being handled"
        assert log == []
        assert system.ledger.expired == 1


async def stashes(actor: Any) -> None:
    actor.context.stash()


async def forwards(actor: Any) -> None:
    actor.context.forward(actor.context.system.at("actor://s/target"))


@pytest.mark.parametrize("begins", [stashes, forwards])
async def test_what_was_stashed_or_forwarded_had_begun(begins: Any, autojump_clock: Any) -> None:
    class Brief(Doer):
        shutdown = 1.0

    seen: list[str] = []

    async def counted(actor: Any) -> None:
        seen.append(actor.context.ref.name)
        await begins(actor)

    async with Checked("s") as system:
        target = system.spawn(Brief, name="target")
        target.tell(nap(1e6))
        instances = [system.spawn(Brief, name=name) for name in "ab"]
        for ref in instances:
            system.register("service://x", ref)
        errors: list[ActorStopped] = []

        async def ask() -> None:
            with pytest.raises(ActorStopped) as caught:
                await system.at("service://x").ask(counted, timeout=None)
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            (instances[0] if begins is stashes else target).stop()
        assert errors[0].started
        assert seen == ["a"]


# -- versions


@pytest.mark.parametrize(
    ("demanded", "found"),
    [
        ("", ["1.4.0", "1.10", "2.0-rc1", "10.0", ""]),
        ("?version=1", ["1.4.0", "1.10"]),
        ("?version=1.4", ["1.4.0"]),
        ("?version=1.4.0", ["1.4.0"]),
        ("?version=1.4.0.0", []),
        ("?version=1.1", []),
        ("?version=2", ["2.0-rc1"]),
        ("?version=2.0", []),
        ("?version=10", ["10.0"]),
    ],
)
async def test_a_version_is_matched_by_its_first_words(demanded: str, found: list[str]) -> None:
    async with Checked("s") as system:
        for version in ("1.4.0", "1.10", "2.0-rc1", "10.0", ""):
            system.register("service://x", system.spawn(Doer), version=version)
        address = f"service://x{demanded}"
        assert [each.version for each in system.instances(address)] == found
        service = system.at(address)
        assert isinstance(service, ServiceRef)
        assert service.instances == system.instances(address)
        assert str(service.address) == address
        assert system.at(service.address).address == service.address


async def test_only_instances_of_the_version_get_messages_and_by_their_weights() -> None:
    async with Checked("s") as system:
        for name, weight, version in (("a", 2, "1.4.0"), ("b", 1, "1.5.0"), ("c", 9, "2.0")):
            ref = system.spawn(Doer, name=name)
            system.register("service://x", ref, weight=weight, version=version)
        who: list[str] = []

        def note(actor: Any) -> str:
            who.append(actor.context.ref.name)
            return who[-1]

        first = system.at("service://x?version=1")
        assert collections.Counter([await first.ask(note) for _ in range(6)]) == {"a": 4, "b": 2}
        first.tell(note)
        await system.at("service://x?version=1.5").send(note)
        assert await system.at("service://x?version=2").ask(note) == "c"
        everybody = [await system.at("service://x").ask(note) for _ in range(12)]
        assert collections.Counter(everybody) == {"a": 2, "b": 1, "c": 9}
        assert [(each.weight, each.version) for each in system.instances("service://x")] == [
            (2, "1.4.0"),
            (1, "1.5.0"),
            (9, "2.0"),
        ]


async def test_no_instance_of_the_version_says_which_there_are() -> None:
    async with Checked("s") as system:
        service = system.at("service://x?version=3")
        with pytest.raises(ActorStopped, match="no instance of the service is alive"):
            await service.ask("a")
        for version in ("1.4.0", "2.0", "2.0", ""):
            system.register("service://x", system.spawn(Doer), version=version)
        text = r"no instance of version 3 is alive; the versions alive are: 1\.4\.0, 2\.0, none"
        with pytest.raises(ActorStopped, match=text) as caught:
            await service.ask("b")
        assert not caught.value.started
        assert caught.value.ref is service
        service.tell("c")
        await service.send("d")
        assert [(each.message, each.reason) for each in system.dead_letters.recent] == [
            ("c", DeadLetterReason.NO_INSTANCE),
            ("d", DeadLetterReason.NO_INSTANCE),
        ]


async def test_a_retry_stays_with_the_version(autojump_clock: Any) -> None:
    class Brief(Doer):
        shutdown = 1.0

    async with Checked("s") as system:
        old, new = system.spawn(Brief), system.spawn(Doer)
        system.register("service://x", old, version="1")
        system.register("service://x", new, version="2")
        old.tell(nap(1e6))
        await wait_all_tasks_blocked()

        async def ask() -> None:
            with pytest.raises(ActorStopped, match="no other instance .* 1 stopped before") as it:
                await system.at("service://x?version=1").ask("x", timeout=None)
            assert not it.value.started

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            old.stop()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("service://x?", "only version="),
        ("service://x?weight=1", "only version="),
        ("service://x?version=", "words of letters"),
        ("service://x?version=1.", "words of letters"),
        ("service://x?version=1.*", "words of letters"),
        ("queue://x?version=1", "words joined by single dots"),
        ("topic://x?version=1", "words joined by single dots"),
    ],
)
def test_an_address_with_a_version_that_is_none_is_refused(address: str, why: str) -> None:
    with pytest.raises(InvalidAddress, match=why):
        Address.parse(address)


async def test_a_version_is_registered_as_an_argument() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer)
        with pytest.raises(InvalidAddress, match="version is an argument"):
            system.register("service://x?version=1", ref)
        with pytest.raises(ValueError, match="words of letters"):
            system.register("service://x", ref, version="1 beta")
        with pytest.raises(TypeError, match="a version is a str, not 2"):
            system.register("service://x", ref, version=2)  # type: ignore[arg-type]
        with pytest.raises(InvalidAddress, match="a service:// address"):
            system.instances("queue://x")
        assert system.instances("service://x") == ()


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
