"""The engine that a cluster agrees by, as a model: a key-value bucket of NATS JetStream in memory.

It has one task and one heap, as the network. A call travels there, is carried out, and its answer
travels back. What can go wrong has an identity, as all faults: see `faults`.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio

from transports.cluster.memory_store import Bucket
from transports.cluster.store import (
    Change,
    Current,
    Deleted,
    Entry,
    KeyExists,
    StoreUnavailable,
    WrongRevision,
)
from transports.testing.faults import Fault

if TYPE_CHECKING:
    from transports.testing.run import Run

ENGINE: Final = "engine"
"""Its name, in faults that befall it."""

LATENCY: Final = 0.001
"""Seconds that a call, an answer or a change needs, if nothing befalls it."""

PATIENCE: Final = 5.0
"""Seconds until a client gives up a call."""

LOST_WATCH_AFTER: Final = 3.0
"""Seconds without a sign of life until a client takes its watch for lost."""


class SimulatedWatch:
    """One watch of one incarnation of a node."""

    def __init__(self, store: SimulatedStore, prefix: str) -> None:
        self.store = store
        self.prefix = prefix
        self.arrived: deque[Change] = deque()
        self.last_arrival = 0.0
        self.is_silent = False
        self.silent_until = inf
        self._news = trio.Event()
        self._began = False

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        engine = self.store.engine
        if not self._began:
            self._began = True
            await self.store.call("WATCH", lambda: engine.begin_watch(self))
        while not self.arrived:
            if self.is_silent:
                with trio.move_on_at(self.silent_until):
                    await self._news.wait()
                if not self.arrived and self.is_silent:
                    raise StoreUnavailable("nothing is heard of the watch")
            else:
                await self._news.wait()
        await trio.lowlevel.checkpoint()
        return self.arrived.popleft()

    async def aclose(self) -> None:
        """No more."""
        self.store.engine.watches.pop(self, None)
        await trio.lowlevel.checkpoint()

    def put(self, change: Change) -> None:
        """A change has arrived."""
        if not self.is_silent:
            self.arrived.append(change)
            self.wake()

    def fall_silent(self, now: float) -> None:
        """Nothing more of it arrives; its client finds that out."""
        if not self.is_silent:
            self.is_silent = True
            self.silent_until = now + LOST_WATCH_AFTER
            self.wake()

    def wake(self) -> None:
        """Let its reader look."""
        news, self._news = self._news, trio.Event()
        news.set()


class SimulatedStore:
    """A node's connection with the engine: a `Store`. is_gone: nothing of it gets out any more."""

    def __init__(self, engine: Engine, node: str, is_gone: Callable[[], bool]) -> None:
        self.engine = engine
        self.node = node
        self.is_gone = is_gone

    async def call(self, kind: str, work: Callable[[], Any]) -> Any:
        """Let the engine do something, and return what it answers."""
        done = trio.Event()
        answers: list[tuple[Any, Exception | None]] = []

        def answer(value: Any, error: Exception | None) -> None:
            answers.append((value, error))
            done.set()

        self.engine.submit(self, kind, work, answer)
        with trio.move_on_after(PATIENCE):
            await done.wait()
        if not answers:
            raise StoreUnavailable(f"no answer to {kind}")
        value, error = answers[0]
        if error is not None:
            raise error
        return value

    async def create(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """See Store."""
        return int(await self.call("CREATE", lambda: self.engine.create(key, value, ttl)))

    async def update(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int:
        """See Store."""
        work = lambda: self.engine.update(key, value, revision, ttl)  # noqa: E731
        return int(await self.call("UPDATE", work))

    async def delete(self, key: str, revision: int | None = None) -> None:
        """See Store."""
        await self.call("DELETE", lambda: self.engine.delete(key, revision))

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        found: Entry | None = await self.call("GET", lambda: self.engine.get(key))
        return found

    def watch(self, prefix: str) -> SimulatedWatch:
        """See Store."""
        return SimulatedWatch(self, prefix)


class Engine:
    """Keys, revisions, times to live, and who watches."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.bucket = Bucket()
        self.watches: dict[SimulatedWatch, None] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._made = 0
        self._scope: trio.CancelScope | None = None
        # While it is away (an election, a restart): what it is to do when it is back.
        self._away: dict[Fault, None] = {}
        self._waiting: list[Callable[[], None]] = []
        self._parted: dict[str, dict[Fault, None]] = {}

    # -- what befalls it

    def goes(self, fault: Fault) -> None:
        """It answers nobody."""
        self._away[fault] = None
        self._later(LOST_WATCH_AFTER, lambda: self._silence(fault))

    def _silence(self, fault: Fault) -> None:
        if fault in self._away:
            for watch in tuple(self.watches):
                watch.fall_silent(self._run.now() - LOST_WATCH_AFTER)

    def comes_back(self, fault: Fault) -> None:
        """It does again, and first what it was sent meanwhile."""
        self._away.pop(fault, None)
        if not self._away:
            waiting, self._waiting = self._waiting, []
            for work in waiting:
                self._later(0.0, work)

    def part(self, node: str, fault: Fault) -> None:
        """Nothing passes between it and a node."""
        self._parted.setdefault(node, {})[fault] = None
        for watch in tuple(self.watches):
            if watch.store.node == node:
                watch.fall_silent(self._run.now())

    def unpart(self, node: str, fault: Fault) -> None:
        """It passes again."""
        self._parted.get(node, {}).pop(fault, None)

    def heal(self) -> None:
        """Nothing goes wrong from now on."""
        self._parted.clear()
        for fault in tuple(self._away):
            self.comes_back(fault)

    def _number(self, node: str, kind: str) -> Fault | None:
        key = (node, kind)
        number = self._counts[key] = self._counts.get(key, 0) + 1
        run = self._run
        if run.healed:
            return None
        fault = run.plan.on_store(node, kind, number)
        if fault is not None:
            run.fired(fault)
        return fault

    # -- calls

    def submit(
        self,
        store: SimulatedStore,
        kind: str,
        work: Callable[[], Any],
        answer: Callable[[Any, Exception | None], None],
    ) -> None:
        """A call of a node is on its way."""
        if store.is_gone():
            return
        fault = self._number(store.node, kind)
        there = back = LATENCY
        if fault is not None:
            match fault.kind:
                case "store-lost":
                    return
                case "store-late":
                    there += fault.by
                case "store-slow":
                    back += fault.by
        if self._parted.get(store.node):
            return

        def arrive() -> None:
            if self._away:
                self._waiting.append(arrive)
                return
            value, error = None, None
            try:
                value = work()
            except (KeyExists, WrongRevision) as refused:
                error = refused
            is_lost = fault is not None and fault.kind == "store-unknown"
            if not is_lost and not self._parted.get(store.node):
                self._later(back, lambda: answer(value, error))

        self._later(there, arrive)

    def create(self, key: str, value: bytes, ttl: float | None) -> int:
        """Carry it out."""
        return self._written(self.bucket.create(key, value), ttl)

    def update(self, key: str, value: bytes, revision: int, ttl: float | None) -> int:
        """Carry it out."""
        return self._written(self.bucket.update(key, value, revision), ttl)

    def delete(self, key: str, revision: int | None) -> None:
        """Carry it out."""
        deleted = self.bucket.delete(key, revision)
        if deleted is not None:
            self._tell(deleted)

    def get(self, key: str) -> Entry | None:
        """Carry it out."""
        return self.bucket.get(key)

    def _written(self, entry: Entry, ttl: float | None) -> int:
        self._tell(entry)
        if ttl is not None:
            self._later(ttl, lambda: self._expire(entry.key, entry.revision, None))
        return entry.revision

    def _expire(self, key: str, revision: int, late: Fault | None) -> None:
        if self._away:
            self._waiting.append(lambda: self._expire(key, revision, late))
            return
        found = self.bucket.get(key)
        if found is None or found.revision != revision:
            return
        fault = self._number(ENGINE, "EXPIRY") if late is None else None
        if fault is not None:
            self._later(fault.by, lambda: self._expire(key, revision, fault))
            return
        self._run.sometimes("a key's time was over")
        self.delete(key, revision)

    # -- watches

    def begin_watch(self, watch: SimulatedWatch) -> None:
        """Say all that there is, and then what changes."""
        self.watches[watch] = None
        for entry in self.bucket.under(watch.prefix):
            self._say(watch, entry)
        self._say(watch, Current())

    def _tell(self, change: Entry | Deleted) -> None:
        for watch in tuple(self.watches):
            if change.key.startswith(watch.prefix):
                self._say(watch, change)

    def _say(self, watch: SimulatedWatch, change: Change) -> None:
        store = watch.store
        if store.is_gone():
            self.watches.pop(watch, None)
            return
        fault = self._number(store.node, "EVENT")
        now = self._run.now()
        if self._parted.get(store.node) or (fault is not None and fault.kind == "store-lost"):
            watch.fall_silent(now)
            return
        late = fault.by if fault is not None else 0.0
        # In order: what is behind a late one is late too.
        watch.last_arrival = max(watch.last_arrival, now + LATENCY + late)
        self._at(watch.last_arrival, lambda: watch.put(change))

    # -- its task

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        self._at(self._run.now() + seconds, work)

    def _at(self, time: float, work: Callable[[], None]) -> None:
        self._made += 1
        heapq.heappush(self._heap, (time, self._made, work))
        if self._scope is not None and time < self._scope.deadline:
            self._scope.deadline = time

    async def run(self) -> None:
        """Do what is due, in order; until cancelled."""
        heap = self._heap
        while True:
            with trio.CancelScope() as self._scope:
                self._scope.deadline = heap[0][0] if heap else inf
                await trio.sleep_forever()
            now = self._run.now()
            while heap and heap[0][0] <= now:
                heapq.heappop(heap)[2]()
