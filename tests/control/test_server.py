"""The control server: what it answers, and that nothing a client says does harm."""

import logging
from tempfile import TemporaryDirectory

import pytest
import trio
import trio.testing

from actors import ActorSystem
from tests.control.kit import Put, Silent, call, served
from transports import MemoryNetwork, Node
from transports.control import NodeRuns, claim, place_of, protocol, serve, server
from transports.nodes.inspector import SERVICE, Inspect

FIVE = 5.0


async def test_a_node_says_what_it_is() -> None:
    async with served() as (_, control), call(control) as client:
        about = (await client.ask(do="about"))["end"]
        assert about["node"] == "demo"
        assert (about["ready"], about["peers"], about["missing"]) == (False, [], 0)
        control.set_ready()
        assert (await client.ask(do="about"))["end"]["ready"] is True


async def test_the_tree_has_the_node_and_its_actors() -> None:
    async with served() as (_, control), call(control) as client:
        await client.say(b'{"do":"tree"}\n')
        items = []
        while "item" in (line := await client.line()):
            items.append(line["item"])
        assert items[0]["node"]["node"] == "demo"
        addresses = [each["actor"]["address"] for each in items[1:]]
        assert addresses[1:] == ["actor://demo/counter", "actor://demo/silent"]
        assert line == {"end": None}


async def test_a_large_tree_is_cut_short_and_says_so() -> None:
    async with served() as (_, control), call(control) as client:
        await client.say(b'{"do":"tree","most":1}\n')
        lines = [await client.line() for _ in range(4)]
        assert list(lines[1]["item"]) == ["actor", "node"]
        assert lines[2] == {"item": {"left_off": 2, "node": "demo"}}
        assert lines[3] == {"end": None}


async def test_messages_are_told_asked_and_published() -> None:
    async with served() as (system, control), call(control) as client:
        counter = "actor://demo/counter"
        system.subscribe("topic://a.*", system.at(counter))
        fields = {"number": 5, "data": "aGk=", "ref": counter}
        told = await client.ask(do="tell", to=counter, name="test_control.Put", fields=fields)
        assert told == {"end": None}
        published = await client.ask(
            do="publish", topic="a.b", name="test_control.Put", fields={"number": 2}
        )
        assert published == {"end": {"matched": 1, "queued": 1, "refused": 0, "nodes": 0}}
        assert await client.ask(do="ask", to=counter, name="test_control.Get") == {"end": 7}


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"to": "nonsense"}, "bad-request", "'nonsense': an address starts with"),
        ({"name": "test_control.Putt"}, "bad-message", "there is test_control.Put"),
        ({"fields": {"number": "5"}}, "bad-message", "Expected `int`, got `str` (at $.number)"),
        ({"fields": {}}, "bad-message", "missing required field `number`"),
        ({"fields": {"number": 5, "n": 1}}, "bad-message", "no such field; it has number, data"),
        ({"fields": {"number": 5, "ref": "x"}}, "bad-message", "(at $.ref)"),
        ({"fields": {"number": 5, "data": "*"}}, "bad-message", "base64"),
        ({"fields": [5]}, "bad-message", "are an object, not [5]"),
        ({"to": "actor://demo/none"}, "refused", "no actor at that address"),
        ({"to": "actor://other/none"}, "refused", "no actor at that address"),
        ({"to": "topic://nobody"}, "refused", "nobody subscribes"),
        ({"to": "service://none"}, "refused", "no instance"),
    ],
)
async def test_what_cannot_be_told_is_an_error_line(
    request_: dict[str, object], code: str, text: str
) -> None:
    request = {
        "do": "tell",
        "to": "actor://demo/counter",
        "name": "test_control.Put",
        "fields": {"number": 1},
        **request_,
    }
    async with served() as (system, control), call(control) as client:
        error = (await client.ask(**request))["error"]
        assert error["code"] == code
        assert text in error["text"]
        assert system.ledger.missing == 0


@pytest.mark.parametrize(
    ("to", "fields", "code", "text"),
    [
        ("silent", {"number": 1}, "timeout", "no reply from"),
        ("counter", {"number": -1}, "failed", "ValueError('negative')"),
        ("none", {"number": 1}, "refused", "no actor lives at that address"),
    ],
)
async def test_an_ask_that_comes_to_nothing_is_an_error_line(
    to: str, fields: dict[str, int], code: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "actors")
    async with served() as (_, control), call(control) as client:
        address = f"actor://demo/{to}"
        asked = await client.ask(
            do="ask", to=address, name="test_control.Put", fields=fields, timeout=0.01
        )
        assert asked["error"]["code"] == code
        assert text in asked["error"]["text"]


async def test_a_topic_cannot_be_asked() -> None:
    async with served() as (_, control), call(control) as client:
        asked = await client.ask(do="ask", to="topic://a", name="test_control.Get")
        assert asked["error"]["code"] == "refused"


async def test_whoever_listens_gets_what_is_published_until_the_next_line() -> None:
    async with served() as (system, control), call(control) as client:
        await client.say(b'{"do":"listen","topic":"a.**"}\n')
        topic = system.at("topic://a.b.c")
        with trio.fail_after(FIVE):
            while not topic.publish(Put(1)).matched:  # type: ignore[attr-defined]
                await trio.sleep(0.001)
        topic.tell("a text")
        topic.tell(object())
        put = {"number": 1, "data": "", "ref": None}
        first = {"name": "test_control.Put", "version": 1, "fields": put}
        assert await client.line() == {"item": first}
        assert await client.line() == {"item": "a text"}
        assert "object object" in str(await client.line())
        await client.say(b'{"do":"about"}\n')
        assert await client.line() == {"end": None}
        assert "node" in (await client.line())["end"]
        assert topic.publish(Put(1)).matched == 0  # type: ignore[attr-defined]


async def test_who_listens_and_goes_leaves_nothing_behind() -> None:
    async with served() as (system, control):
        before = system.children
        async with call(control) as client:
            await client.say(b'{"do":"listen","topic":"a"}\n')
            with trio.fail_after(FIVE):
                while system.children == before:
                    await trio.sleep(0.001)
        with trio.fail_after(FIVE):
            while system.children != before:
                await trio.sleep(0.001)


async def test_a_listener_that_does_not_read_misses_messages_and_holds_up_nobody() -> None:
    async with served() as (system, control), call(control) as client:
        await client.say(b'{"do":"listen","topic":"a"}\n')
        topic = system.at("topic://a")
        with trio.fail_after(FIVE):
            while not topic.publish("first").matched:  # type: ignore[attr-defined]
                await trio.sleep(0.001)
        for _ in range(30):
            for _ in range(1000):
                topic.tell("x" * 200)
            await trio.sleep(0)
            assert system.ledger.rejected == 0
        with trio.fail_after(FIVE):
            while not isinstance(line := (await client.line())["item"], dict):
                topic.tell("more")
        assert line["missed"] > 0
        assert system.dead_letters.count == 0


async def test_dead_letters_are_shown_and_followed() -> None:
    async with served() as (system, control), call(control) as client:
        for number in range(5):
            system.at("actor://demo/none").tell(number)
        await client.say(b'{"do":"dead-letters","last":2,"follow":true}\n')
        shown = [(await client.line())["item"] for _ in range(2)]
        assert [each["message"] for each in shown] == [3, 4]
        assert shown[0]["to"] == "actor://demo/none"
        assert shown[0]["reason"] == "no actor at that address"
        with trio.fail_after(FIVE):
            while len(system.children) == 3:
                await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked()
        system.at("topic://nobody").tell("later")
        assert (await client.line())["item"]["message"] == "later"
        await client.say(b"\n")
        assert await client.line() == {"end": None}


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"nonsense\n",
        b"\x00\xff\xfe\n",
        b'{"do":"tell"}\n',
        b'{"do":"about","x":1}\n',
        b"[" * 500_000 + b"\n",
        b"x" * (protocol.MAX_LINE + 1) + b"\n",
    ],
    ids=lambda data: repr(data[:12]),
)
async def test_nonsense_is_an_error_line_and_the_connection_goes_on(data: bytes) -> None:
    async with served() as (system, control), call(control) as client:
        for _ in range(2):
            await client.say(data)
            assert (await client.line())["error"]["code"] == "bad-request"
        assert (await client.ask(do="about"))["end"]["node"] == "demo"
        assert system.ledger.missing == 0


async def test_half_a_request_is_no_request_and_harms_nobody() -> None:
    async with served() as (_, control):
        for size in range(1, 15):
            async with call(control) as client:
                await client.say(b'{"do":"about"}\n'[:size])
        async with call(control) as client:
            assert (await client.ask(do="about"))["end"]["node"] == "demo"


async def test_a_request_in_pieces_is_a_request() -> None:
    async with served() as (_, control), call(control) as client:
        for byte in b'{"do":"about"}\n':
            await client.say(bytes([byte]))
            await trio.sleep(0)
        assert (await client.line())["end"]["node"] == "demo"


async def test_requests_in_one_piece_are_answered_in_order() -> None:
    async with served() as (_, control), call(control) as client:
        await client.say(b'{"do":"about"}\nnonsense\n{"do":"dead-letters"}\n')
        kinds = [next(iter(await client.line())) for _ in range(3)]
        assert kinds == ["end", "error", "end"]


async def test_one_client_too_many_is_told_so_and_the_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 2)
    async with served() as (_, control), call(control) as one, call(control) as two:
        await one.ask(do="about")
        await two.ask(do="about")
        async with call(control) as three:
            assert (await three.line())["error"]["code"] == "closed"
            assert await three.line() is None
        assert "end" in await one.ask(do="about")


async def test_a_client_that_does_not_read_its_answer_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "WRITE_WITHIN", 0.05)
    async with served() as (system, control), call(control) as client:
        for _ in range(300):
            system.at("actor://demo/none").tell("x" * 20_000)
        await client.say(b'{"do":"dead-letters"}\n' * 5)
        with trio.fail_after(FIVE):
            while control._connections:
                await trio.sleep(0.01)


async def test_a_client_that_goes_ends_what_was_done_for_it() -> None:
    async with served() as (system, control):
        async with call(control) as client:
            await client.say(
                b'{"do":"ask","to":"actor://demo/silent","name":"test_control.Get","timeout":900}\n'
            )
            with trio.fail_after(FIVE):
                while not control._connections:
                    await trio.sleep(0.001)
        with trio.fail_after(FIVE):
            while control._connections:
                await trio.sleep(0.001)
        assert system.ledger.missing == 0


async def test_a_fault_in_a_request_is_an_error_line_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("transports.control.commands.report_node", broken)
    async with served() as (_, control), call(control) as client:
        assert "KeyError" in (await client.ask(do="about"))["error"]["text"]
        assert "a bug" in caplog.text
        assert "end" in await client.ask(do="dead-letters")


async def test_what_the_block_raises_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with served():
            raise ZeroDivisionError


async def test_two_nodes_of_one_name_cannot_both_be_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        async with ActorSystem("demo") as first, ActorSystem("demo") as second, serve(first):
            with pytest.raises(NodeRuns):
                async with serve(second):
                    pass


async def test_the_tree_shows_peers_and_names_those_that_say_nothing() -> None:
    network = MemoryNetwork()

    def node(name: str, *peers: str) -> ActorSystem:
        return ActorSystem(name, transport=Node(network.endpoint(name), peers=peers))

    with TemporaryDirectory() as folder:
        place_a, place_b = (place_of(name, f"{folder}/{name}") for name in "ab")
        with claim(place_a), claim(place_b):
            async with (
                node("silent"),
                node("b") as b,
                serve(b, place_b),
                node("a", "b", "silent") as a,
                serve(a, place_a) as control,
                call(control) as client,
            ):
                b.spawn(Silent, name="of_b")
                with trio.fail_after(FIVE):
                    while len(a.instances(SERVICE)) < 2 or any(
                        each["state"] != "connected"
                        for each in (await client.ask(do="about"))["end"]["peers"]
                    ):
                        await trio.sleep(0.01)
                await client.say(b'{"do":"tree","peers":true}\n')
                items = []
                while "item" in (line := await client.line()):
                    items.append(line["item"])
                nodes = [
                    each["node"]["node"] for each in items if isinstance(each.get("node"), dict)
                ]
                assert nodes == ["a", "b"]
                addresses = [each["actor"]["address"] for each in items if "actor" in each]
                assert "actor://b/of_b" in addresses
                assert items[-1]["unreachable"] == "silent"


async def test_an_inspector_bears_whatever_a_peer_tells_it() -> None:
    async with served() as (system, _):
        (instance,) = system.instances(SERVICE)
        assert await instance.ref.ask("nonsense") is None
        report = await instance.ref.ask(Inspect(float("nan"), 1))
        assert (report.node.node, report.left_off) == ("demo", 2)
        assert await instance.ref.ask(Inspect(-1e9, -5))
        assert system.ledger.restarts == 0
