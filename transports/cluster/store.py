"""What a cluster agrees by: a store of keys, each with a revision, compared and watched.

NATS JetStream's key-value buckets are one. The code above it is written against this, so that the
simulator can stand where the engine would.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import attrs

from actors import ActorError


@attrs.frozen
class Entry:
    """The value of a key, and its revision: of all writes to the store, the how-many-th it was."""

    key: str
    value: bytes
    revision: int


@attrs.frozen
class Deleted:
    """A key was deleted, or its time to live is over; revision: of that write."""

    key: str
    revision: int


@attrs.frozen
class Current:
    """All that there was when the watch began has been said. What follows are changes."""


Change = Entry | Deleted | Current


class StoreError(ActorError):
    """The base of what calls of a store raise."""


class KeyExists(StoreError):
    """There is such a key: nothing was created. Attribute: `key`."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"there is a key {key!r} already")


class WrongRevision(StoreError):
    """The key's revision is another one, or there is no such key: nothing was written.

    Attributes: `key`, `revision` (that was demanded).
    """

    def __init__(self, key: str, revision: int) -> None:
        self.key = key
        self.revision = revision
        super().__init__(f"{key!r} does not have revision {revision}")


class StoreUnavailable(StoreError):
    """There was no answer. What was to be written may be written already, or later, or never.

    Attribute: `why`.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"the store does not answer: {why}")


class Watch(Protocol):
    """Changes, as they come."""

    def __aiter__(self) -> AsyncIterator[Change]:
        """It is iterated over once."""

    async def aclose(self) -> None:
        """No more of them are wanted."""


class Store(Protocol):
    """A store that all nodes of a cluster share. Revisions grow over the whole of it.

    Keys are words of letters, digits and ``-_=/`` joined by dots. A key with a time to live (`ttl`
    seconds, from when it is written) is deleted by the store when that is over: never sooner, and
    as much later as it likes. Any call may raise StoreUnavailable.
    """

    async def create(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Write a key that there is not; its revision.

        Raises:
            KeyExists: there is.
        """

    async def update(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int:
        """Write a key that has this revision; its new one.

        Raises:
            WrongRevision: it has another one, or is deleted.
        """

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Delete a key; of one that there is not, nothing.

        Raises:
            WrongRevision: it has another one than this.
        """

    async def get(self, key: str) -> Entry | None:
        """What the key has now: the newest write that was answered to anybody, or a newer one."""

    def watch(self, prefix: str) -> Watch:
        """What there is under a prefix, then Current, then each change, in order of revisions.

        Of two changes of one key that follow closely the older one may be left out. When changes
        may have been missed it raises StoreUnavailable, and is to be begun anew.
        """
