"""Messages to bytes and back: strict, of registered types only, and an error for all the rest."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import ActorRef, NotAMessage, Request, message
from tests.actors.kit import Checked, Doer
from transports.encoding import envelope
from transports.encoding.codec import Codec
from transports.encoding.roads import needs_cattrs
from transports.errors import DecodeError, NotEncodable


@message
class Item:
    name: str
    count: int = 1


@message
class Order(Request[bool]):
    number: int
    items: list[Item] = attrs.field(factory=list)
    price: float | None = None
    tags: dict[str, int] = attrs.field(factory=dict)
    raw: bytes = b""


@message
class Private:
    _secret: int
    items: tuple[Item, ...] = ()
    renamed: str = attrs.field(default="", alias="other")


@message
@dataclasses.dataclass(frozen=True)
class Data:
    text: str
    inner: Private | None = None


@message
class Packed(msgspec.Struct, frozen=True):
    numbers: list[int]


@message
class WithRef:
    to: ActorRef
    text: str = ""


@message
class PrivateWithRef:
    _to: ActorRef


TYPES = (Item, Order, Private, Data, Packed)
CODEC = Codec(TYPES, max_size=100_000)

ITEMS = st.builds(Item, st.text(max_size=5), st.integers(-(2**63), 2**63 - 1))
MESSAGES = st.one_of(
    ITEMS,
    st.builds(
        Order,
        st.integers(-(2**63), 2**63 - 1),
        st.lists(ITEMS, max_size=3),
        st.none() | st.floats(allow_nan=False),
        st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=3),
        st.binary(max_size=5),
    ),
    st.builds(
        Private,
        st.integers(0, 9),
        st.lists(ITEMS, max_size=2).map(tuple),
        other=st.text(max_size=3),
    ),
    st.builds(Data, st.text(max_size=5), st.none() | st.builds(Private, st.integers(0, 9))),
    st.builds(Packed, st.lists(st.integers(0, 9), max_size=3)),
)


@given(MESSAGES)
def test_what_is_encoded_is_decoded_equal_and_of_the_same_type(sent: Any) -> None:
    got = CODEC.decode(CODEC.encode(sent))
    assert type(got) is type(sent)
    assert got == sent


def test_what_msgspec_would_lose_takes_the_other_road() -> None:
    assert [needs_cattrs(cls) for cls in TYPES] == [False, False, True, True, False]


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_a_message_or_a_decode_error(noise: bytes) -> None:
    try:
        assert type(CODEC.decode(noise)) in TYPES
    except DecodeError:
        pass


@given(MESSAGES, st.data())
def test_torn_and_changed_bytes_are_a_message_or_a_decode_error(
    sent: Any, data: st.DataObject
) -> None:
    whole = bytearray(CODEC.encode(sent))
    cut = data.draw(st.integers(0, len(whole)))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    for torn in (whole[:cut], whole):
        try:
            assert type(CODEC.decode(bytes(torn))) in TYPES
        except DecodeError as error:
            assert error.path.startswith("$")


def body(cls: type, value: Any) -> bytes:
    header = CODEC._by_class[cls].header
    return header + msgspec.msgpack.encode(value)


@pytest.mark.parametrize(
    ("cls", "value", "path"),
    [
        (Item, {"name": "a", "count": "42"}, "$.count"),
        (Item, {"name": 1}, "$.name"),
        (Item, {"count": 1}, "$"),
        (Order, {"number": 1, "items": [{"name": "a"}, {"name": 2}]}, "$.items[1].name"),
        (Order, {"number": 1.5}, "$.number"),
        (Item, [], "$"),
        (Private, {"_secret": "42"}, "$._secret"),
        (Private, {"_secret": 1, "items": [{"name": "a"}, {"name": 3}]}, "$.items[1].name"),
        (Private, {"_secret": True}, "$._secret"),
        (Data, {"text": 3}, "$.text"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(
    cls: type, value: Any, path: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        CODEC.decode(body(cls, value))
    assert caught.value.path == path


@pytest.mark.parametrize("cls", [Item, Private])
def test_deep_nesting_is_an_error_and_no_crash(cls: type) -> None:
    deep = CODEC._by_class[cls].header + b"\x91" * 90_000
    with pytest.raises(DecodeError):
        CODEC.decode(deep)


def test_what_is_too_large_is_refused_on_both_sides() -> None:
    codec = Codec([Order], max_size=100)
    with pytest.raises(NotEncodable, match="too large"):
        codec.encode(Order(1, raw=b"x" * 200))
    with pytest.raises(DecodeError, match="more than one message may have"):
        codec.decode(b"x" * 1000)


@message
class Strictly:
    n: int = attrs.field()
    text: str = ""

    @n.validator
    def _check(self, _: Any, value: int) -> None:
        assert value != 0
        if value < 0:
            raise ZeroDivisionError(value)
        if value > 9:
            raise LookupError(value)


@pytest.mark.parametrize("number", [0, -1, 10])
def test_whatever_a_validator_raises_is_a_decode_error(number: int) -> None:
    codec = Codec([Strictly])
    data = codec._by_class[Strictly].header + msgspec.msgpack.encode({"n": number})
    with pytest.raises(DecodeError, match="Error"):
        codec.decode(data)


@pytest.mark.parametrize("first", [0xC6, 0xC9, 0xDB, 0xDD, 0xDF])
def test_a_size_that_is_a_lie_costs_no_memory(first: int) -> None:
    """As many items or bytes as 32 bits can say, in a message of some bytes."""
    lie = bytes([first]) + b"\xff" * 4
    order = CODEC._by_class[Order].header
    tracemalloc.start()
    try:
        for decode, data in (
            (CODEC.decode, order + b"\x82\xa6number\x01\xa5items" + lie),
            (CODEC.decode, CODEC._by_class[Private].header + b"\x82\xa7_secret\x01\xa5items" + lie),
            (CODEC.decode_value, lie),
            (envelope.decode, lie),
            (envelope.decode, b"\x92\x0b" + lie),
        ):
            with pytest.raises(DecodeError):
                decode(data)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


# -- evolution: the table of docs/wire.md


def evolved(source: str, options: str = "") -> type:
    """A version of `Changing`, as another program may have it."""
    scope: dict[str, Any] = {"message": message, "__name__": __name__}
    exec(f"@message{options}\nclass Changing:\n{source}", scope)
    return scope["Changing"]


CELLS = {
    "an added field with a default": ("    a: int", "    a: int\n    b: int = 7"),
    "an added field without one": ("    a: int", "    a: int\n    b: int"),
    "a removed field": ("    a: int\n    b: int = 7", "    a: int"),
    "a changed type": ("    a: int", "    a: str"),
    "another version": ("    a: int", "    a: int"),
    "an unknown type": ("    a: int", "    a: int"),
}
NEWER = {"another version": "(version=2)", "an unknown type": "(name='Changed')"}
RESULTS = {
    ("an added field with a default", "newer to older"): "decoded",
    ("an added field with a default", "older to newer"): "default",
    ("an added field without one", "newer to older"): "decoded",
    ("an added field without one", "older to newer"): "error",
    ("a removed field", "newer to older"): "default",
    ("a removed field", "older to newer"): "decoded",
    ("a changed type", "newer to older"): "error",
    ("a changed type", "older to newer"): "error",
    ("another version", "newer to older"): "error",
    ("another version", "older to newer"): "error",
    ("an unknown type", "newer to older"): "error",
    ("an unknown type", "older to newer"): "error",
}


@pytest.mark.parametrize(("change", "direction"), list(RESULTS))
@pytest.mark.parametrize("private", [False, True])
def test_each_cell_of_the_table_of_evolution(change: str, direction: str, private: bool) -> None:
    extra = "\n    _p: int = 0" if private else ""
    older = evolved(CELLS[change][0] + extra)
    newer = evolved(CELLS[change][1] + extra, NEWER.get(change, ""))
    sender, receiver = (newer, older) if direction == "newer to older" else (older, newer)
    assert needs_cattrs(sender) is private
    fields = {each.name: 1 for each in attrs.fields(sender) if each.name in ("a", "b")}
    if change == "a changed type" and sender is newer:
        fields["a"] = "text"
    data = Codec([sender]).encode(sender(**fields))
    wanted = RESULTS[change, direction]
    if wanted == "error":
        with pytest.raises(DecodeError):
            Codec([receiver]).decode(data)
        return
    got = Codec([receiver]).decode(data)
    assert got.a == 1
    if wanted == "default":
        assert got.b == 7


def test_the_table_in_the_docs_is_that_of_the_tests(repository: Any) -> None:
    page = (repository / "docs" / "wire.md").read_text()
    words = {"decoded": "decoded", "default": "decoded, with the default", "error": "`DecodeError`"}
    section = page.partition("## Evolution")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line[:2] == "| "]
    assert rows == ["change", *CELLS]
    for (change, direction), result in RESULTS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| {change} |"))
        cells = [cell.strip() for cell in row.split("|")[2:4]]
        assert cells[direction == "older to newer"] == words[result], row


def test_types_whose_names_are_as_long_take_turns() -> None:
    @message(name="Mice")
    class Mice:
        name: str

    codec = Codec([Item, Mice])
    for sent in (Item("tea"), Mice("ten"), Item("tea"), Item("two"), Mice("ten")):
        got = codec.decode(codec.encode(sent))
        assert (type(got), got) == (type(sent), sent)


def test_unknown_types_and_versions_are_refused() -> None:
    @message(name="Item", version=2)
    class Newer:
        name: str

    data = Codec([Newer]).encode(Newer("a"))
    with pytest.raises(DecodeError, match="version 2 of Item, of which version 1 is known"):
        CODEC.decode(data)
    with pytest.raises(DecodeError, match="no message is called b'Item' here"):
        Codec([Order]).decode(data)
    with pytest.raises(NotEncodable, match="is called 'Item' too"):
        Codec([Item, Newer])
    with pytest.raises(NotAMessage):
        Codec([int])
    with pytest.raises(NotEncodable, match="not one that this system exchanges"):
        CODEC.encode("text")


def test_a_field_that_cannot_be_encoded_is_named() -> None:
    @message
    class Odd:
        value: Any

    with pytest.raises(NotEncodable, match=r"Odd cannot be sent .* \(at \$\.value\['a'\]\[1\]\)"):
        Codec([Odd]).encode(Odd({"a": [1, object()]}))
    with pytest.raises(NotEncodable):
        CODEC.encode(Item("a", 2**70))


@pytest.mark.parametrize("cls", [WithRef, PrivateWithRef])
async def test_a_ref_is_a_field_like_any_other(cls: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer, name="doer")
        codec = Codec([cls], resolve=system.at)
        got = codec.decode(codec.encode(cls(ref)))
        assert (got.to if cls is WithRef else got._to) is ref
        with pytest.raises(DecodeError, match="this codec resolves none"):
            Codec([cls]).decode(codec.encode(cls(ref)))
        name = "to" if cls is WithRef else "_to"
        header = codec._by_class[cls].header
        for wrong in ("nowhere", 3):
            with pytest.raises(DecodeError):
                codec.decode(header + msgspec.msgpack.encode({name: wrong}))


def test_the_bytes_are_those_of_the_specification() -> None:
    assert CODEC.encode(Item("tea", 2)).hex(" ") == (
        "04 49 74 65 6d 00 01 82 a5 63 6f 75 6e 74 02 a4 6e 61 6d 65 a3 74 65 61"
    )
    # A map has no order: the same the other way round is the same message.
    other = bytes.fromhex("044974656d0001 82 a46e616d65 a3746561 a5636f756e74 02")
    assert CODEC.decode(other) == Item("tea", 2)
