"""Messages as JSON: as strict as between nodes, and shown whatever they are."""

import json
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import attrs
import pytest

from actors import ActorRef, ActorSystem, message
from transports.encoding.json_form import JsonForm, NoSuchMessage, find_message
from transports.errors import DecodeError


class Colour(Enum):
    RED = "red"


@message(name="test_json.Leaf")
class Leaf:
    number: int
    at: datetime | None = None


@message(name="test_json.Whole")
class Whole:
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    names: dict[str, float] = attrs.field(factory=dict)
    data: bytes = b""
    colour: Colour = Colour.RED
    ref: ActorRef | None = None


@message(name="test_json.Private")
class Private:
    _secret: int
    _data: bytes = b""


WHOLE = {
    "leaf": {"number": 1, "at": "2026-01-02T03:04:05Z"},
    "leaves": [{"number": 2, "at": None}],
    "names": {"a": 1.5},
    "data": "aGk=",
    "colour": "red",
    "ref": "actor://demo/a",
}


def read(form: JsonForm, name: str, fields: Any) -> Any:
    return form.decode(name, json.dumps(fields).encode())


async def test_a_message_from_json_has_the_declared_types_and_goes_back_to_the_same() -> None:
    async with ActorSystem("demo") as system:
        form = JsonForm(system.at)
        whole = read(form, "test_json.Whole", WHOLE)
        assert whole.leaf == Leaf(1, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        assert (whole.leaves, whole.data, whole.colour) == ((Leaf(2),), b"hi", Colour.RED)
        assert str(whole.ref.address) == "actor://demo/a"
        shown = json.loads(bytes(form.encode(whole)))
        assert shown == {"name": "test_json.Whole", "version": 1, "fields": WHOLE}


async def test_private_fields_go_the_slow_road_and_are_as_strict() -> None:
    async with ActorSystem("demo") as system:
        form = JsonForm(system.at)
        private = read(form, "test_json.Private", {"_secret": 7, "_data": "aGk="})
        assert private == Private(7, b"hi")
        for wrong, path in (
            ({"_secret": "7"}, "$._secret"),
            ({"_secret": 7, "_data": "*"}, "$._d"),
        ):
            with pytest.raises(DecodeError) as caught:
                read(form, "test_json.Private", wrong)
            assert caught.value.path.startswith(path)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"leaf": {"number": "1"}}, "$.leaf.number"),
        ({"leaf": {"number": True}}, "$.leaf.number"),
        ({"leaves": [{"number": 1}, {"number": 1.5}]}, "$.leaves[1].number"),
        ({"names": {"a": "b"}}, "$.names[...]"),
        ({"colour": "blue"}, "$.colour"),
        ({"data": 7}, "$.data"),
        ({"ref": "actor://demo"}, "$.ref"),
        ({"ref": 7}, "$.ref"),
        ({"leaf": None}, "$.leaf"),
        ({"leav": []}, "$.leav"),
    ],
)
async def test_a_wrong_field_is_named_by_its_path(change: dict[str, Any], path: str) -> None:
    async with ActorSystem("demo") as system:
        with pytest.raises(DecodeError) as caught:
            read(JsonForm(system.at), "test_json.Whole", {**WHOLE, **change})
        assert caught.value.path == path


@pytest.mark.parametrize("fields", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 100_000])
async def test_fields_are_a_json_object(fields: bytes) -> None:
    async with ActorSystem("demo") as system:
        with pytest.raises(DecodeError):
            JsonForm(system.at).decode("test_json.Leaf", fields)


def test_a_message_that_nobody_knows_is_told_with_those_that_are_near() -> None:
    assert find_message("test_json.Leaf") is Leaf
    with pytest.raises(NoSuchMessage, match=r"'test_json.Leav' here; there is test_json.Leaf"):
        find_message("test_json.Leav")


class Odd:
    def __repr__(self) -> str:
        raise ValueError("no repr")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        ([1, "a", {"b": 2.5}], [1, "a", {"b": 2.5}]),
        (b"hi", "aGk="),
        (Colour.RED, "red"),
        ({1: "a"}, {"1": "a"}),
        (float("nan"), None),
        (Odd(), "<Odd whose repr raised ValueError>"),
        (10**30, 10**30),
    ],
)
async def test_whatever_it_is_it_is_shown(value: object, shown: object) -> None:
    async with ActorSystem("demo") as system:
        assert json.loads(bytes(JsonForm(system.at).encode(value))) == shown


async def test_what_contains_itself_is_shown_as_its_repr() -> None:
    around: list[Any] = []
    around.append(around)
    async with ActorSystem("demo") as system:
        assert json.loads(bytes(JsonForm(system.at).encode(around))) == {"repr": "[[...]]"}
