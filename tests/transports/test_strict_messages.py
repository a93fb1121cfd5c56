"""ActorSystem(strict_messages=True): what would fail between two processes fails in one."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import transports
from actors import (
    Actor,
    ActorFailed,
    ActorRef,
    DeadLetter,
    ExitReason,
    Mailbox,
    MailboxFull,
    Request,
    Terminated,
    message,
)
from actors.messages import message_type, reply_type
from supervision import Broadcast, CountChildren, Pool, WhichChildren
from tests.actors.kit import Checked
from transports.encoding.codec import Codec
from transports.errors import DecodeError, NotEncodable

T = TypeVar("T")


@message(name="strict.Basket")
class Basket:
    items: list[str]
    anything: Any = None


@message(name="strict.Take")
class Take(Request[int]):
    what: Any


@message(name="strict.Anything")
class Anything(Request[Any]):
    what: Any


@message(name="strict.Places")
class Places(Request[tuple["Place", ...]]):
    pass


@message(name="strict.Either")
class Either(Request["Basket | Take | int"]):
    what: Any


@attrs.frozen
class Place:
    name: str


@message(name="strict.Grown")
class Grown:
    size: int

    def __attrs_post_init__(self) -> None:
        if self.size > 3 and not getattr(Grown, "lenient", False):
            raise ValueError("too large")


@message(name="strict.Two")
class Two:
    ref: ActorRef


class Keeper(Actor):
    """Keeps what it gets, and replies with what it is told to."""

    def __init__(self, reply: Any = None, seen: list[Any] | None = None) -> None:
        self.reply = reply
        self.seen = [] if seen is None else seen

    def receive(self, message: Any) -> Any:
        self.seen.append(message)
        return self.reply


class AsyncKeeper(Keeper):
    async def receive(self, message: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return super().receive(message)


def strict(name: str = "s", **options: Any) -> Checked:
    return Checked(name, strict_messages=True, max_restarts=None, **options)


# -- values of the codec

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.binary(max_size=3)
    | st.builds(Basket, st.lists(st.text(max_size=2), max_size=2)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.none() | st.integers(0, 9) | st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
CODEC = Codec(None, max_size=100_000)


@given(VALUES)
def test_any_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    got = CODEC.decode_value(CODEC.encode_value(value))
    assert got == value
    assert type(got) is type(value)


@given(st.binary(max_size=40))
def test_noise_is_a_value_or_a_decode_error(noise: bytes) -> None:
    try:
        CODEC.encode_value(CODEC.decode_value(noise))
    except DecodeError as error:
        assert error.path.startswith("$")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ((1, 2), "$"),
        ([1, {"a": (1,)}], "$[1]['a']"),
        ({(1, 2): 3}, "$"),
        ([{1, 2}], "$[0]"),
        ([Place("a")], "$[0]"),
        ([Basket([], anything={"x": object()})], "$[0].anything['x']"),
        (2**70, "$"),
        (Basket, "$"),
        ("\ud800", "$"),
    ],
)
def test_what_has_no_form_on_the_wire_is_refused_with_its_place(value: Any, path: str) -> None:
    with pytest.raises(NotEncodable) as caught:
        CODEC.encode_value(value)
    assert caught.value.path == path
    assert caught.value.value is value


@pytest.mark.parametrize(
    "value",
    [
        [msgspec.msgpack.Ext(3, b"")],
        [msgspec.msgpack.Ext(1, b"\x04Nope\x00\x01\x80")],
        [msgspec.msgpack.Ext(1, b"")],
        [msgspec.msgpack.Ext(2, b"actor://s/a")],
        [{(1, 2): 3}],
        [msgspec.msgpack.Ext(-1, b"\x00\x00\x00\x00")],
    ],
)
def test_what_is_no_value_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(DecodeError) as caught:
        CODEC.decode_value(msgspec.msgpack.encode(value))
    assert caught.value.path == "$[0]"


def test_an_extension_in_a_field_is_refused() -> None:
    header = CODEC.encode(Basket([]))[: len("strict.Basket") + 3]
    fields = {"items": [], "anything": msgspec.msgpack.Ext(1, b"x")}
    with pytest.raises(DecodeError, match="no such kind: extension 1"):
        CODEC.decode(header + msgspec.msgpack.encode(fields))


def test_deep_and_circular_values_are_errors_and_no_crash() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(NotEncodable, match="contains itself"):
        CODEC.encode_value(circle)
    with pytest.raises(DecodeError):
        CODEC.decode_value(b"\x91" * 90_000)
    with pytest.raises(NotEncodable, match="too large"):
        Codec(None, max_size=10).encode_value("x" * 1000)
    with pytest.raises(DecodeError, match="more than one value may have"):
        Codec(None, max_size=10).decode_value(b"x" * 1000)


def test_a_value_of_a_declared_type_is_decoded_as_that_and_nothing_else() -> None:
    kind = reply_type(Places)
    assert kind == tuple[Place, ...]
    data = CODEC.encode_value((Place("a"),), kind)
    assert CODEC.decode_value(data, kind) == (Place("a"),)
    with pytest.raises(DecodeError) as caught:
        CODEC.decode_value(CODEC.encode_value([{"name": 3}]), kind)
    assert caught.value.path == "$[0].name"
    with pytest.raises(DecodeError):
        CODEC.decode_value(CODEC.encode_value("3"), int)


def test_of_a_union_of_classes_only_its_members_are_accepted() -> None:
    kind = reply_type(Either)
    for value in (Basket(["a"]), Take(1), 7):
        assert CODEC.decode_value(CODEC.encode_value(value, kind), kind) == value
    for value in (Grown(1), "7", None):
        with pytest.raises(DecodeError):
            CODEC.decode_value(CODEC.encode_value(value, kind), kind)
    no_rest = Basket | Take
    with pytest.raises(DecodeError, match="got `int`"):
        CODEC.decode_value(CODEC.encode_value(7, no_rest), no_rest)


def test_a_declared_type_without_a_form_is_refused() -> None:
    with pytest.raises(NotEncodable):
        CODEC.encode_value(3, type("Odd", (), {"__annotations__": {}}) | Place | list[Place] | dict)


def test_the_type_of_a_reply_is_found_or_any() -> None:
    class Generic_(Request[T], Generic[T]):
        pass

    class Unknown(Request["Nowhere"]):  # type: ignore[name-defined]
        pass

    assert reply_type(Take) is int
    assert reply_type(int) is Any
    assert reply_type(Generic_) is Any
    assert reply_type(Unknown) is Any
    assert reply_type(message(type("Sub", (Take,), {"__annotations__": {}}))) is int


def test_the_bytes_are_those_of_the_specification() -> None:
    assert CODEC.encode_value([1, None, "tea"]).hex(" ") == "93 01 c0 a3 74 65 61"
    whole = "c7 0f 01 08 57 69 72 65 49 74 65 6d 00 01 81 a1 6e 02"

    @message
    class WireItem:
        n: int

    assert CODEC.encode_value(WireItem(2)).hex(" ") == whole
    assert CODEC.decode_value(bytes.fromhex(whole)) == WireItem(2)


# -- names


def test_a_name_of_two_classes_is_an_error_when_one_of_them_is_used() -> None:
    @message(name="Clash")
    class One:
        pass

    @message(name="Clash")
    class Other:
        pass

    codec = Codec(None)
    codec.encode(Basket([]))
    for cls in (One, Other):
        with pytest.raises(NotEncodable, match="is called 'Clash' too: give one of them"):
            codec.encode(cls())
    with pytest.raises(DecodeError, match="is called 'Clash' too"):
        codec.decode(Codec([One]).encode(One()))


def test_a_class_statement_that_is_run_again_replaces_its_class() -> None:
    def define() -> Any:
        @message
        class Again:
            pass

        return Again

    codec = Codec(None)
    older = define()
    assert codec.decode(codec.encode(older())) == older()
    newer = define()
    assert type(codec.decode(codec.encode(newer()))) is newer
    with pytest.raises(NotEncodable, match="this class is the older"):
        codec.encode(older())
    assert message_type(older).name == "Again"


def test_a_field_whose_type_cannot_be_found_is_refused() -> None:
    @message
    class Lost:
        value: Nowhere  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(NotEncodable, match="'Nowhere' is not defined"):
        Codec(None).encode(Lost(1))


# -- what is sent


async def test_the_receiver_has_a_copy() -> None:
    async with strict() as system:
        seen: list[Any] = []
        keeper = system.spawn(Keeper, None, seen)
        basket, plain = Basket(["tea"]), ["a"]
        keeper.tell(basket)
        await keeper.send(plain)
        await keeper.ask(basket)
        basket.items.append("more")
        plain.append("b")
        assert seen == [Basket(["tea"]), ["a"], Basket(["tea"])]
        assert seen[0].items is not seen[2].items


@pytest.mark.parametrize("actor", [Keeper, AsyncKeeper])
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Place("a"), "Place cannot be sent .* put @message above its class"),
        (object(), "send a @message class"),
        (Basket(["a"], anything=object()), r"\(at \$\.anything\)"),
        (Basket(["a"], anything=(1, 2)), r"would come back as \[1, 2\].*\(at \$\.anything\)"),
        (Basket(("a",)), r"\('a',\) would come back as \['a'\].*\(at \$\.items\)"),  # type: ignore[arg-type]
        (Basket([1]), r"could not decode it: Expected `str`, got `int` \(at \$\.items\[0\]\)"),  # type: ignore[list-item]
        ((1, 2), "a tuple would come back as a list"),
    ],
)
async def test_the_sender_gets_the_error(actor: Any, wrong: Any, why: str) -> None:
    async with strict() as system:
        seen: list[Any] = []
        keeper = system.spawn(actor, None, seen)
        with pytest.raises(NotEncodable, match=why):
            keeper.tell(wrong)
        with pytest.raises(NotEncodable, match=why):
            await keeper.send(wrong)
        with pytest.raises(NotEncodable, match=why):
            await keeper.ask(wrong)
        with pytest.raises(NotEncodable, match=why):
            system.at("queue://jobs").tell(wrong)
        with pytest.raises(NotEncodable, match=why):
            system.at("topic://t").publish(wrong)  # type: ignore[attr-defined]
        with pytest.raises(NotEncodable, match=why):
            await system.at("topic://t").send(wrong)
        with pytest.raises(NotEncodable, match=why):
            await system.at("topic://t").gather(wrong)  # type: ignore[attr-defined]
        system.register("service://x", keeper)
        with pytest.raises(NotEncodable, match=why):
            system.at("service://x").tell(wrong)
        with pytest.raises(NotEncodable, match=why):
            await system.at("service://x").ask(wrong)
        assert seen == []
        assert system.ledger.sent == 0


async def test_a_validator_that_the_receiver_would_run_is_run() -> None:
    Grown.lenient = True  # type: ignore[attr-defined]
    try:
        large = Grown(9)
    finally:
        del Grown.lenient  # type: ignore[attr-defined]
    async with strict() as system:
        with pytest.raises(NotEncodable, match="could not decode it: too large"):
            system.spawn(Keeper).tell(large)


async def test_a_system_that_is_not_strict_does_none_of_this() -> None:
    async with Checked("s") as system:
        thing = object()
        keeper = system.spawn(Keeper, thing)
        assert await keeper.ask(thing) is thing


async def test_refs_are_the_same_actors() -> None:
    async with strict() as system:
        seen: list[Any] = []
        keeper = system.spawn(Keeper, None, seen)
        gone = system.spawn(Keeper)
        gone.stop()
        await gone.stopped()
        await keeper.ask(Two(keeper))
        await keeper.ask([keeper, gone])
        assert seen[0].ref is keeper
        assert seen[1][0] is keeper
        assert seen[1][1].address == gone.address
        with pytest.raises(NotEncodable, match=r"would come back as 'actor://.*\$\.anything"):
            keeper.tell(Basket([], anything=keeper))


async def test_a_timers_message_is_checked_when_the_timer_is_made(autojump_clock: Any) -> None:
    class Timed(Keeper):
        async def started(self) -> None:
            self.basket = Basket(["a"])
            self.context.every(1.0, self.basket)
            with pytest.raises(NotEncodable):
                self.context.after(1.0, object())

        def receive(self, message: Any) -> Any:
            self.basket.items.append("changed")
            message.items.append(str(len(self.seen)))
            super().receive(message)

    async with strict() as system:
        seen: list[Any] = []
        system.spawn(Timed, None, seen)
        await trio.sleep(2.5)
    assert seen == [Basket(["a", "0"]), Basket(["a", "1"])]


async def test_each_subscriber_has_a_copy_of_its_own() -> None:
    async with strict() as system:
        logs: list[list[Any]] = [[], []]
        for log in logs:
            system.subscribe("topic://t", system.spawn(Keeper, None, log))
        basket = Basket(["a"])
        published = system.at("topic://t").publish(basket)  # type: ignore[attr-defined]
        assert (published.matched, published.queued) == (2, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert logs[0] == logs[1] == [basket]
        assert len({id(each.items) for each in (*logs[0], *logs[1], basket)}) == 3


async def test_who_waits_for_room_sends_a_copy(autojump_clock: Any) -> None:
    class Small(AsyncKeeper):
        mailbox = Mailbox(capacity=1)

        async def receive(self, message: Any) -> Any:
            await trio.sleep(1)
            return await super().receive(message)

    async with strict() as system:
        seen: list[Any] = []
        small = system.spawn(Small, 3, seen)
        small.tell(1)
        await trio.sleep(0.5)
        small.tell(2)
        basket = Basket(["a"])
        with pytest.raises(MailboxFull) as full:
            small.tell(basket)
        assert full.value.message is basket
        async with trio.open_nursery() as nursery:
            nursery.start_soon(small.send, basket)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(functools.partial(small.ask, Take(0), timeout=None))
            await trio.sleep(0.1)
            basket.items.append("changed")
            with pytest.raises(NotEncodable):
                await small.send(object())
        assert seen == [1, 2, Basket(["a"]), Take(0)]


async def test_what_the_runtime_tells_goes_through_as_it_is() -> None:
    async with strict() as system:
        seen: list[Any] = []

        class Watcher(Keeper):
            async def started(self) -> None:
                self.context.watch(stopped)

        stopped = system.spawn(Keeper)
        watcher = await system.start(Watcher, None, seen)
        system.dead_letters.subscribe(watcher)
        stopped.stop()
        await stopped.stopped()
        stopped.tell("late")
        await watcher.ask("x")
        assert seen[0] == Terminated(stopped, ExitReason.NORMAL)
        assert isinstance(seen[1], DeadLetter)
        assert seen[1].message == "late"


# -- replies


@pytest.mark.parametrize("actor", [Keeper, AsyncKeeper])
@pytest.mark.parametrize(
    ("request_", "reply", "why"),
    [
        (Take(0), "no", r"as the reply to Take, a Request\[int\]: .*Expected `int`, got `str`"),
        (Anything(0), object(), "as the reply to Anything: object: .*|as the reply to Anything:"),
        (Anything(0), (1, 2), "a tuple would come back as a list"),
        (Places(), [Place("a")], r"\[Place\(name='a'\)\] would come back as \(Place"),
        (Either(0), Grown(1), "as the reply to Either"),
        ("plain", Place("a"), "put @message above its class"),
    ],
)
async def test_a_reply_that_cannot_be_sent_fails_its_actor_and_the_asker_is_told(
    actor: Any, request_: Any, reply: Any, why: str
) -> None:
    async with strict() as system:
        keeper = system.spawn(actor, reply)
        with pytest.raises(ActorFailed, match=why) as caught:
            await keeper.ask(request_)
        assert isinstance(caught.value.cause, NotEncodable)
        assert system.ledger.failed == 1
        # Where nobody asked, what a handler returns is no reply.
        keeper.tell(request_)
        await trio.testing.wait_all_tasks_blocked()
        assert system.ledger.failed == 1


async def test_a_reply_is_a_copy_of_its_declared_type() -> None:
    async with strict() as system:
        basket = Basket(["a"])
        got = await system.spawn(Keeper, basket).ask(Anything(0))
        assert got == basket
        assert got.items is not basket.items
        places = (Place("a"),)
        assert await system.spawn(AsyncKeeper, places).ask(Places()) == places


async def test_a_reply_given_later_is_checked_where_it_is_given() -> None:
    class Later(Actor):
        def receive(self, message: Any) -> Any:
            if isinstance(message, Take):
                self.reply = self.context.reply_later()
            else:
                self.reply.reply("no int")

    async with strict() as system:
        later = system.spawn(Later)
        caught: list[ActorFailed] = []

        async def ask() -> None:
            with pytest.raises(ActorFailed, match=r"a Request\[int\]") as failed:
                await later.ask(Take(0))
            caught.append(failed.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ActorFailed):
                await later.ask("give it")
        assert isinstance(caught[0].cause, NotEncodable)
        assert system.ledger.failed == 1


async def test_forwards_pools_and_queues_make_the_round_trip_at_each_hop() -> None:
    class Front(Actor):
        def __init__(self, ref: ActorRef) -> None:
            self.ref = ref

        def receive(self, message: Any) -> None:
            self.context.forward(self.ref)

    async with strict() as system:
        keeper = system.spawn(Keeper, 7)
        front = system.spawn(Front, keeper)
        assert await front.ask(Take([1])) == 7
        with pytest.raises(ActorFailed, match="as the reply to Anything"):
            await system.spawn(Front, system.spawn(Keeper, object())).ask(Anything(1))
        system.consume("queue://jobs", keeper)
        assert await system.at("queue://jobs").ask(Take(1)) == 7


async def test_pools_broadcast_copies_and_can_be_asked_about_their_workers() -> None:
    async with strict() as system:
        seen: list[Any] = []
        pool = await system.start(
            functools.partial(Pool, size=2, routing=Broadcast()), Keeper, None, seen
        )
        basket = Basket(["a"])
        pool.tell(basket)
        assert (await pool.ask(CountChildren())).active == 2
        infos = await pool.ask(WhichChildren())
        assert [system.at(info.ref.address) for info in infos] == [info.ref for info in infos]
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [basket, basket]
        assert len({id(each.items) for each in (*seen, basket)}) == 3


# -- without the codec


def test_without_the_codec_it_says_what_to_import(repository: Path) -> None:
    program = (
        "import actors\n"
        "try:\n    actors.ActorSystem('s', strict_messages=True)\n"
        "except ValueError as error:\n    assert 'import transports' in str(error), error\n"
        "else:\n    raise SystemExit('no error')\n"
        "import transports\n"
        "actors.ActorSystem('s', strict_messages=True)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True)
    assert transports.NotEncodable is NotEncodable


# -- the examples, as they are

EXAMPLES = """
import functools, logging, sys
from pathlib import Path

import trio

import transports
from actors import ActorSystem, Env
from actors.testing import run_virtually
from examples.bank import command as bank
from examples.code_index import command as code_index
from examples.dining_philosophers import command as dinner

logging.getLogger("actors").disabled = True
for module in (bank, code_index, dinner):
    module.ActorSystem = functools.partial(ActorSystem, strict_messages=True)
folder = Path(sys.argv[1])
run = functools.partial(bank.run_bank, accounts=4, transfers=40, rate=0.1)
report = run_virtually(run, Env(1, slice_messages=50), folder / "journal")
assert report.missing == 0, report
assert report.moved + report.refused == 40, report
meal, ledger = run_virtually(dinner.dine, Env(1, slice_messages=50), 5, 5, 0.05)
assert min(meal.eaten) >= 5
assert ledger.missing == 0
sources = folder / "sources"
sources.mkdir()
(sources / "good.py").write_text("import os\\n\\n\\ndef f(): return os.name\\n")
(sources / "bad.py").write_text("def (")
options = code_index.Options(str(sources), indexers=2, snapshot=True)
indexed, snapshot = trio.run(code_index.index_folder, options)
assert (indexed.totals.files, len(indexed.totals.problems)) == (1, 1), indexed
assert snapshot is not None
assert indexed.ledger.failed == 0
"""


def test_the_examples_keep_to_what_can_be_sent(tmp_path: Path, repository: Path) -> None:
    # In a process of its own: here, other tests have messages of the same names.
    subprocess.run([sys.executable, "-c", EXAMPLES, tmp_path], cwd=repository, check=True)


def test_dataclasses_and_structs_are_looked_into() -> None:
    @message(name="strict.Data")
    @dataclasses.dataclass(frozen=True)
    class Data:
        inner: Any

    @message(name="strict.Packed")
    class Packed(msgspec.Struct, frozen=True):
        inner: Any

    for cls in (Data, Packed):
        with pytest.raises(NotEncodable) as caught:
            Codec(None).encode(cls([object()]))
        assert caught.value.path == "$.inner[0]"
