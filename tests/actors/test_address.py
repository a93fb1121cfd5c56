"""Addresses and names: what is read, what is refused, and what an address leads to."""

from __future__ import annotations

from typing import Any

import pytest

from actors import (
    ActorError,
    ActorStopped,
    ActorSystem,
    Address,
    DeadLetterReason,
    InvalidAddress,
    NameTaken,
)
from tests.actors.kit import Checked, Doer, PlainDoer, Recorder

VALID = [
    ("actor://demo/bank", ("actor", "demo", "bank")),
    ("actor://demo/bank/savings", ("actor", "demo", "bank/savings")),
    ("actor://n-1.x/a_b:c@d=e+f,g", ("actor", "n-1.x", "a_b:c@d=e+f,g")),
    ("actor://demo/account~17", ("actor", "demo", "account~17")),
    ("actor://démo/größe", ("actor", "démo", "größe")),
    ("topic://orders.new", ("topic", "", "orders.new")),
    ("topic://orders.*", ("topic", "", "orders.*")),
    ("topic://orders.**", ("topic", "", "orders.**")),
    ("queue://jobs", ("queue", "", "jobs")),
    ("service://inventory", ("service", "", "inventory")),
]


@pytest.mark.parametrize(("text", "parts"), VALID)
def test_an_address_is_read_and_written_back(text: str, parts: tuple[str, str, str]) -> None:
    address = Address.parse(text)
    assert (address.scheme, address.node, address.path) == parts
    assert str(address) == text
    assert Address.parse(str(address)) == address
    assert Address.parse(address) is address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "an address starts with actor://"),
        ("bank", "an address starts with actor://"),
        ("http://demo/bank", "an address starts with actor://"),
        ("ACTOR://demo/bank", "an address starts with actor://"),
        ("actor:/demo/bank", "an address starts with actor://"),
        ("actor://", "an actor's address is actor://system/name"),
        ("actor://demo", "an actor's address is actor://system/name"),
        ("actor://demo/", "an actor's address is actor://system/name"),
        ("actor:///bank", "an actor's address is actor://system/name"),
        ("actor://demo//bank", "cannot stand in an address"),
        ("actor://demo/bank/", "cannot stand in an address"),
        ("actor://demo/../bank", "cannot stand in an address"),
        ("actor://demo/./bank", "cannot stand in an address"),
        ("actor://../bank", "cannot stand in an address"),
        ("actor://demo/a b", "cannot stand in an address"),
        ("actor://demo/a\n", "cannot stand in an address"),
        ("actor://demo/a*", "cannot stand in an address"),
        ("topic://", "words joined by single dots"),
        ("topic://a..b", "words joined by single dots"),
        ("topic://.a", "words joined by single dots"),
        ("queue://a/b", "words joined by single dots"),
        (17, "an address is a str, not int"),
        (None, "an address is a str, not NoneType"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: Any, why: str) -> None:
    with pytest.raises(InvalidAddress, match=why) as caught:
        Address.parse(text)
    assert caught.value.text == text
    assert why in caught.value.why
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ActorError)


def test_addresses_are_values_and_have_an_order() -> None:
    one, same, other = (
        Address.parse(f"actor://demo/{word}") for word in ("alpha", "alpha", "beta")
    )
    assert one == same
    assert hash(one) == hash(same)
    assert sorted([other, one]) == [one, other]


BAD_NAMES: list[Any] = ["", ".", "..", "a/b", "a b", "a~b", "a*", "a\n", "actor://x", 7, None, b"a"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_systems_name_must_fit_into_an_address(name: Any) -> None:
    with pytest.raises(InvalidAddress, match="system's name"):
        ActorSystem(name)


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if name is not None])
async def test_an_actors_name_must_fit_into_an_address(name: Any) -> None:
    async with Checked("s") as system:
        with pytest.raises(InvalidAddress, match="a name"):
            system.spawn(Doer, name=name)
        with pytest.raises(InvalidAddress, match="a name"):
            await system.start(Doer, name=name)
        assert system.children == ()


async def test_an_actor_without_a_name_gets_a_unique_one_that_no_user_can_take() -> None:
    async with Checked("s") as system:
        refs = [system.spawn(Doer) for _ in range(3)]
        names = [ref.name for ref in refs]
        assert len(set(names)) == 3
        for ref in refs:
            assert ref.name.startswith("doer~")
            assert system.at(str(ref)) is ref
            with pytest.raises(InvalidAddress):
                system.spawn(Doer, name=ref.name)


async def test_an_address_tells_the_path_from_the_system_down() -> None:
    async with Checked("demo") as system:
        bank = system.spawn(Doer, name="bank")
        savings = await bank.ask(lambda actor: actor.context.spawn(Doer, name="savings"))
        deep = await savings.ask(lambda actor: actor.context.spawn(Doer, name="deep"))
        assert str(deep) == "actor://demo/bank/savings/deep"
        assert deep.address == Address("actor", "demo", "bank/savings/deep")
        assert deep.name == "deep"
        assert system.at("actor://demo/bank/savings/deep") is deep
        assert system.at(deep.address) is deep
        assert "actor://demo/bank/savings/deep" in repr(deep)


async def test_the_same_name_may_be_used_below_two_parents_and_again_after_a_stop() -> None:
    async with Checked("s") as system:
        one, two = system.spawn(Doer), system.spawn(Doer)
        for parent in (one, two):
            await parent.ask(lambda actor: actor.context.spawn(Doer, name="same"))
        first = system.spawn(Doer, name="again")
        with pytest.raises(NameTaken):
            system.spawn(Doer, name="again")
        first.stop()
        await first.stopped()
        second = system.spawn(Doer, name="again")
        assert second is not first
        assert system.at("actor://s/again") is second


async def test_a_name_that_is_taken_says_by_whom_and_what_to_do() -> None:
    async with Checked("s") as system:
        holder = system.spawn(Doer, name="bank")
        with pytest.raises(NameTaken, match="choose another one") as spawning:
            system.spawn(PlainDoer, name="bank")
        with pytest.raises(NameTaken, match="choose another one") as starting:
            await system.start(PlainDoer, name="bank")
        for caught in (spawning, starting):
            assert caught.value.name == "bank"
            assert caught.value.holder is holder
            assert "actor://s/bank" in str(caught.value)
        assert system.children == (holder,)


async def test_a_ref_by_address_finds_who_lives_there_at_each_use() -> None:
    async with Checked("s") as system:
        by_address = system.at("actor://s/later")
        with pytest.raises(ActorStopped, match="no actor lives at that address") as caught:
            await by_address.ask("anybody there?")
        assert caught.value.ref is by_address
        assert caught.value.message == "anybody there?"
        by_address.tell("lost")
        await by_address.send("lost too")
        assert [letter.reason for letter in system.dead_letters.recent] == [
            DeadLetterReason.NO_ACTOR
        ] * 2

        log: list[Any] = []
        first = system.spawn(Recorder, log, name="later")
        by_address.tell(1)
        await by_address.send(2)
        assert await by_address.ask(3) == 3
        first.stop()
        await by_address.stopped()
        assert log == [1, 2, 3]
        with pytest.raises(ActorStopped):
            await by_address.ask("gone again")

        system.spawn(Recorder, log, name="later")
        assert await by_address.ask(4) == 4
        by_address.stop()
        await by_address.stopped()
        assert log == [1, 2, 3, 4]
        assert system.ledger.missing == 0


async def test_stopping_an_address_where_nobody_lives_does_nothing() -> None:
    async with Checked("s") as system:
        nobody = system.at("actor://s/nobody")
        nobody.stop()
        await nobody.stopped()
        assert nobody.name == "nobody"
        assert str(nobody) == "actor://s/nobody"


async def test_an_address_of_another_system_leads_to_nobody() -> None:
    async with Checked("s") as system:
        system.spawn(Doer, name="bank")
        with pytest.raises(ActorStopped):
            await system.at("actor://elsewhere/bank").ask("hello")


async def test_a_resolver_makes_a_scheme_known() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer)
        asked: list[Address] = []

        def resolve(address: Address) -> Any:
            asked.append(address)
            return ref

        system.install_resolver("service", resolve)
        assert system.at("service://inventory") is ref
        assert asked == [Address("service", "", "inventory")]


async def test_at_refuses_what_is_no_address() -> None:
    async with Checked("s") as system:
        with pytest.raises(InvalidAddress):
            system.at("bank")
