"""A store of one process, which its nodes share: for tests, and to try out a cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from math import inf

import trio

from transports.cluster.store import Change, Current, Deleted, Entry, KeyExists, WrongRevision


class Bucket:
    """Keys and revisions, without time and I/O."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._revision = 0

    def create(self, key: str, value: bytes) -> Entry:
        """Write a key that there is not.

        Raises:
            KeyExists: there is.
        """
        if key in self._entries:
            raise KeyExists(key)
        return self._write(key, value)

    def update(self, key: str, value: bytes, revision: int) -> Entry:
        """Write a key that has this revision.

        Raises:
            WrongRevision: it has another one, or is not there.
        """
        found = self._entries.get(key)
        if found is None or found.revision != revision:
            raise WrongRevision(key, revision)
        return self._write(key, value)

    def delete(self, key: str, revision: int | None = None) -> Deleted | None:
        """Delete a key; None: there is none.

        Raises:
            WrongRevision: it has another one than this.
        """
        found = self._entries.get(key)
        if revision is not None and (found is None or found.revision != revision):
            raise WrongRevision(key, revision)
        if found is None:
            return None
        del self._entries[key]
        self._revision += 1
        return Deleted(key, self._revision)

    def get(self, key: str) -> Entry | None:
        """What the key has."""
        return self._entries.get(key)

    def under(self, prefix: str) -> list[Entry]:
        """All keys with a prefix, in the order of their revisions."""
        found = (entry for key, entry in self._entries.items() if key.startswith(prefix))
        return sorted(found, key=lambda entry: entry.revision)

    def _write(self, key: str, value: bytes) -> Entry:
        self._revision += 1
        entry = self._entries[key] = Entry(key, value, self._revision)
        return entry


class MemoryStore:
    """A `Store` for the nodes of one process.

        store = MemoryStore()
        Node(network.endpoint("a"), peers=["b"], store=store)

    It answers at once, and never fails; for what befalls a real one there is
    `transports.testing.simulate`.
    """

    def __init__(self) -> None:
        self._bucket = Bucket()
        self._expires: dict[str, float] = {}
        self._watches: dict[MemoryWatch, None] = {}

    async def create(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """See Store."""
        await self._look()
        return self._written(self._bucket.create(key, value), ttl)

    async def update(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int:
        """See Store."""
        await self._look()
        return self._written(self._bucket.update(key, value, revision), ttl)

    async def delete(self, key: str, revision: int | None = None) -> None:
        """See Store."""
        await self._look()
        self._remove(key, revision)

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        await self._look()
        return self._bucket.get(key)

    def watch(self, prefix: str) -> MemoryWatch:
        """See Store."""
        return MemoryWatch(self, prefix)

    async def _look(self) -> None:
        await trio.lowlevel.checkpoint()
        self.expire()

    def _written(self, entry: Entry, ttl: float | None) -> int:
        self._expires.pop(entry.key, None)
        if ttl is not None:
            self._expires[entry.key] = trio.current_time() + ttl
        self._tell(entry)
        return entry.revision

    def _remove(self, key: str, revision: int | None = None) -> None:
        deleted = self._bucket.delete(key, revision)
        self._expires.pop(key, None)
        if deleted is not None:
            self._tell(deleted)

    def _tell(self, change: Entry | Deleted) -> None:
        for watch in self._watches:
            watch.put(change)

    def expire(self) -> float:
        """Delete the keys whose time is over; returns when that of the next one is."""
        now = trio.current_time()
        for key in [key for key, at in self._expires.items() if at <= now]:
            self._remove(key)
        return min(self._expires.values(), default=inf)

    def begin(self, watch: MemoryWatch) -> None:
        """Say what there is, and from now on what changes."""
        self._watches[watch] = None
        for entry in self._bucket.under(watch.prefix):
            watch.put(entry)
        watch.put(Current())

    def end(self, watch: MemoryWatch) -> None:
        """Say no more."""
        self._watches.pop(watch, None)


class MemoryWatch:
    """See `Store.watch`. Whoever waits here also sees to what expires."""

    def __init__(self, store: MemoryStore, prefix: str) -> None:
        self.prefix = prefix
        self._store = store
        self._changes: deque[Change] = deque()
        self._news = trio.Event()
        self._began = False

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        await trio.lowlevel.checkpoint()
        if not self._began:
            self._began = True
            self._store.begin(self)
        while not self._changes:
            with trio.move_on_at(self._store.expire()):
                await self._news.wait()
        return self._changes.popleft()

    async def aclose(self) -> None:
        """See Watch."""
        self._store.end(self)
        await trio.lowlevel.checkpoint()

    def put(self, change: Change) -> None:
        """Something is to be said."""
        if isinstance(change, Current) or change.key.startswith(self.prefix):
            self._changes.append(change)
            news, self._news = self._news, trio.Event()
            news.set()
