"""The engine's key-value store as what the nodes of a cluster agree by: see `cluster.store`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

from transports.cluster.store import (
    Change,
    Current,
    Deleted,
    Entry,
    KeyExists,
    StoreUnavailable,
    WrongRevision,
)
from transports.nats import errors
from transports.nats.kv import KeyValue
from transports.nats.kv_types import Operation
from transports.nats.watch import INITIAL_DONE

PREFIX: Final = "lease."
"""Of these keys, in a bucket that has others too."""


class NatsStore:
    """A part of a bucket, as a `Store`. Revisions are those of the whole bucket."""

    def __init__(self, bucket: KeyValue) -> None:
        self._bucket = bucket

    async def create(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """See `Store`."""
        with _as_said(key, 0):
            return await self._bucket.create(PREFIX + key, value, ttl=ttl)

    async def update(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int:
        """See `Store`."""
        with _as_said(key, revision):
            return await self._bucket.update(PREFIX + key, value, revision, ttl=ttl)

    async def delete(self, key: str, revision: int | None = None) -> None:
        """See `Store`."""
        with _as_said(key, revision or 0):
            await self._bucket.delete(PREFIX + key, revision=revision)

    async def get(self, key: str) -> Entry | None:
        """See `Store`."""
        with _as_said(key, 0):
            try:
                # Any replica may lag behind what was answered to somebody.
                found = await self._bucket.get(PREFIX + key, from_leader=True)
            except errors.KeyNotFound:
                return None
        return Entry(key, found.value, found.revision)

    def watch(self, prefix: str) -> Watch:
        """See `Store`."""
        return Watch(self._bucket, prefix)


class Watch:
    """See `cluster.store.Watch`. It goes on over connections and servers that are lost."""

    def __init__(self, bucket: KeyValue, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = PREFIX + prefix
        self._changes = self._follow()

    def __aiter__(self) -> AsyncIterator[Change]:
        return self._changes

    async def aclose(self) -> None:
        """No more of them are wanted."""
        await self._changes.aclose()

    async def _follow(self) -> AsyncGenerator[Change, None]:
        with _as_said(self._prefix, 0):
            async with self._bucket.watch(f"{PREFIX}>") as watch:
                async for event in watch:
                    if event is INITIAL_DONE:
                        yield Current()
                    elif event.key.startswith(self._prefix):
                        key = event.key.removeprefix(PREFIX)
                        match event.operation:
                            case Operation.PUT:
                                yield Entry(key, event.value, event.revision)
                            case Operation.EXPIRED:
                                # Where its marker is gone too, the revision is that of the value.
                                # What has a time to live is a session, and is never put again.
                                yield Deleted(key, event.revision + 1)
                            case _:
                                yield Deleted(key, event.revision)


@contextmanager
def _as_said(key: str, revision: int) -> Iterator[None]:
    """Errors of the bucket as a store's."""
    try:
        yield
    except errors.KeyExists as error:
        raise KeyExists(key) from error
    except errors.WrongRevision as error:
        raise WrongRevision(key, revision) from error
    except errors.KeyNotFound:
        raise
    except errors.NatsError as error:
        raise StoreUnavailable(str(error)) from error
