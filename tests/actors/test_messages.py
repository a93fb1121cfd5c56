"""`@message` classes and `Request`: what they become, what is taken as it is, what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import attrs
import msgspec
import pytest

from actors import Actor, ActorError, NotAMessage, Request, message
from tests.actors.kit import Checked, PlainRecorder, Recorder


@message
class Deposit:
    amount: int
    note: str = ""


@message
class Balance(Request[int]):
    "Ask for the balance; the reply is an int."


@message
class Transfer(Request[bool]):
    amount: int
    to: list[str] = attrs.Factory(list)


def test_a_message_is_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Deposit(1).amount = 2  # type: ignore[misc]


def test_a_message_is_slotted() -> None:
    assert not hasattr(Deposit(1), "__dict__")
    assert not hasattr(Balance(), "__dict__")
    assert not hasattr(Transfer(1), "__dict__")


def test_a_message_is_compared_and_hashed_by_value() -> None:
    assert Deposit(1, "a") == Deposit(1, note="a")
    assert Deposit(1, "a") != Deposit(1, "b")
    assert len({Deposit(1), Deposit(1), Deposit(2)}) == 2


def test_a_message_is_matched_by_position() -> None:
    match Deposit(3, "rent"):
        case Deposit(amount, note):
            assert (amount, note) == (3, "rent")
        case _:
            pytest.fail("it did not match")


def test_a_messages_repr_has_its_fields() -> None:
    assert repr(Deposit(3, "rent")) == "Deposit(amount=3, note='rent')"


def test_a_default_made_by_a_factory_is_not_shared() -> None:
    one, other = Transfer(1), Transfer(2)
    one.to.append("x")
    assert other.to == []


def test_a_request_with_fields_is_a_message_like_any_other() -> None:
    assert Transfer(1, ["a"]) == Transfer(1, ["a"])
    assert isinstance(Transfer(1), Request)


def test_a_dataclass_an_attrs_class_and_a_struct_are_taken_as_they_are() -> None:
    @dataclasses.dataclass
    class Data:
        x: int

    @attrs.define
    class Attrs:
        x: int

    class Struct(msgspec.Struct):
        x: int

    for cls in (Data, Attrs, Struct):
        fields_before = dict(vars(cls))
        assert message(cls) is cls
        assert dict(vars(cls)) == fields_before
        # Not frozen by us: it is the user's class.
        instance = cls(1)
        instance.x = 2
        assert instance.x == 2


def test_a_subclass_of_a_message_is_decorated_on_its_own() -> None:
    @message
    class Urgent(Deposit):
        level: int = 0

    assert Urgent(1, "n", 2).level == 2
    assert Urgent(1, "n", 2) != Urgent(1, "n", 3)
    assert Urgent(1) != Deposit(1)


def test_a_message_can_have_a_name_and_a_version_of_its_own() -> None:
    @message(name="deposit", version=2)
    class DepositV2:
        amount: int

    assert DepositV2(1) == DepositV2(1)


@pytest.mark.parametrize(("name", "version"), [("", 1), ("x", 0), ("x", -1)])
def test_an_impossible_name_or_version_is_refused(name: str, version: int) -> None:
    class Plain:
        x: int

    with pytest.raises(ValueError, match="a version from 1 up"):
        message(name=name, version=version)(Plain)


class Teller(Actor):
    def receive(self, message: Any) -> None: ...


@pytest.mark.parametrize("value", [Teller, ValueError, KeyboardInterrupt, int, dict])
def test_a_class_that_cannot_be_plain_data_is_no_message(value: type) -> None:
    with pytest.raises(NotAMessage, match="a message is plain data") as caught:
        message(value)
    assert caught.value.value is value
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ActorError)


@pytest.mark.parametrize("value", [1, "Deposit", Deposit(1), lambda: None])
def test_what_is_no_class_is_no_message(value: Any) -> None:
    with pytest.raises(NotAMessage, match="stands above a `class` statement"):
        message(value)


def test_an_undecorated_request_says_what_to_write() -> None:
    class Bare(Request[int]):
        pass

    with pytest.raises(NotAMessage, match="put @message above `class Bare`") as caught:
        Bare()
    assert caught.value.value is Bare


def test_an_undecorated_request_with_fields_says_what_to_write() -> None:
    class Bare(Request[int]):
        amount: int

    with pytest.raises(NotAMessage, match="put @message above `class Bare`"):
        Bare(5)  # type: ignore[call-arg]
    with pytest.raises(NotAMessage, match="put @message above `class Bare`"):
        Bare(amount=5)  # type: ignore[call-arg]


def test_an_undecorated_subclass_of_a_message_keeps_its_constructor() -> None:
    class Sub(Deposit):
        pass

    assert Sub(1).amount == 1


@pytest.mark.parametrize("make", [Recorder, PlainRecorder])
async def test_an_ask_for_a_class_says_to_make_an_instance(make: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(make)
        with pytest.raises(NotAMessage, match=r"ask takes an instance: Balance\(\)"):
            await ref.ask(Balance)
        assert system.ledger.sent == 0


@pytest.mark.parametrize("make", [Recorder, PlainRecorder])
async def test_within_one_process_any_object_may_be_sent(make: Any) -> None:
    things: list[Any] = [None, 0, (), "", [], {}, False, object(), Balance, NotImplemented, ...]
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(make, log)
        for thing in things:
            ref.tell(thing)
            await ref.send(thing)
            if thing is not Balance:
                assert await ref.ask(thing) is thing
    expected = [x for thing in things for x in [thing] * (2 if thing is Balance else 3)]
    assert len(log) == len(expected)
    assert all(got is sent for got, sent in zip(log, expected, strict=True))
