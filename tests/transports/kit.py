"""What the tests of nodes share: a plain network in memory, actors, and messages that travel."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trio
from trio.testing import memory_stream_pair

from actors import Actor, ActorRef, ActorSystem, Env, Request, message
from transports import Limits, Node
from transports.endpoint import Endpoint

Handle = Callable[[trio.abc.Stream], Awaitable[object]]


class Wires:
    """A network without faults. `cut` breaks connections; `off` keeps nodes apart."""

    def __init__(self) -> None:
        self.served: dict[str, tuple[trio.Nursery, Handle]] = {}
        self.streams: dict[frozenset[str], list[trio.abc.Stream]] = {}
        self.off: dict[frozenset[str], None] = {}
        self.connections = 0

    def endpoint(self, name: str) -> Wire:
        return Wire(self, name)

    async def cut(self, one: str, other: str) -> None:
        for stream in self.streams.pop(frozenset((one, other)), []):
            await trio.aclose_forcefully(stream)

    async def part(self, one: str, other: str) -> None:
        self.off[frozenset((one, other))] = None
        await self.cut(one, other)

    def heal(self, one: str, other: str) -> None:
        self.off.pop(frozenset((one, other)), None)


class Wire(Endpoint):
    def __init__(self, wires: Wires, name: str) -> None:
        self.wires = wires
        self.name = name

    async def connect(self, peer: str) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        pair = frozenset((self.name, peer))
        found = self.wires.served.get(peer)
        if found is None or pair in self.wires.off:
            raise OSError(f"nobody answers at {peer}")
        here, there = memory_stream_pair()
        nursery, handle = found
        self.wires.connections += 1
        self.wires.streams.setdefault(pair, []).extend((here, there))
        nursery.start_soon(handle, there)
        return here

    async def serve(self, handle: Handle) -> None:
        async with trio.open_nursery() as nursery:
            self.wires.served[self.name] = (nursery, handle)
            try:
                await trio.sleep_forever()
            finally:
                del self.wires.served[self.name]


@message(name="kit.Do")
class Do:
    """Tells a Remote what to do."""

    what: str
    number: float = 0


@message(name="kit.Get")
class Get(Request[list[float]]):
    """Asks a Remote for the numbers that it has."""


@message(name="kit.Through")
class Through(Request[str]):
    """Asks a Remote to ask the next one, and so on."""

    path: list[ActorRef]


class Remote(Actor):
    """Notes numbers; fails, waits, stops and asks others as told."""

    def __init__(self, log: list[float] | None = None) -> None:
        self.numbers: list[float] = [] if log is None else log

    async def receive(self, message: Any) -> Any:
        match message:
            case Get():
                return list(self.numbers)
            case Do("note", number):
                self.numbers.append(number)
            case Do("fail", number):
                raise ValueError(f"as told: {number}")
            case Do("sleep", number):
                await trio.sleep(number)
                return number
            case Do("stop"):
                self.context.stop()
            case Do("object"):
                return object()
            case Through([]):
                return self.context.ref.name
            case Through([first, *rest]):
                return await first.ask(Through(rest), timeout=None)
            case other:
                return other
        return None


@contextlib.asynccontextmanager
async def cluster(
    *names: str,
    wires: Wires | None = None,
    limits: Limits | None = None,
    spawnable: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[list[ActorSystem]]:
    """Systems that are connected with each other; each must account for every message.

    spawnable: of each node, by its name.
    """
    network = wires if wires is not None else Wires()
    systems: list[ActorSystem] = []
    async with contextlib.AsyncExitStack() as stack:
        for name in names:
            make = functools.partial(Node, network.endpoint(name), limits=limits)
            peers = [other for other in names if other != name]
            takes = (spawnable or {}).get(name, ())
            system = ActorSystem(
                name,
                transport=make(peers=peers, spawnable=takes),
                env=Env(7, slice_messages=64),
                **options,
            )
            systems.append(await stack.enter_async_context(system))
        yield systems
    for system in systems:
        ledger = system.ledger
        assert (ledger.missing, ledger.queued, ledger.in_flight) == (0, 0, 0), (system, ledger)
