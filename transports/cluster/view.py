"""What a node knows of its cluster, from what it has watched and written. Pure.

Nothing here is known to be new. But two things stay true however old they are: that a session is
gone (its key is never made again), and what a record said at its revision.
"""

from __future__ import annotations

import enum

import attrs

from transports.cluster.records import (
    OWNERS,
    SESSIONS,
    Record,
    Session,
    decode_record,
    decode_session,
    owner_key,
)
from transports.cluster.store import Current, Deleted, Entry


class Fate(enum.Enum):
    """What is known of a session."""

    LIVE = "it was there when it was last heard of"
    GONE = "it is gone, for ever"
    UNKNOWN = "it was never heard of"


@attrs.frozen
class Owned:
    """A record with its revision."""

    record: Record
    revision: int


MOST_GONE = 10_000
"""Sessions that are known to be gone, and to which no record refers."""


class View:
    """Sessions by their keys, and records by theirs."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.records: dict[str, Owned] = {}
        self.is_complete = False
        """All that there was has been said, once."""
        self.lost = ""
        """The key of a record that is gone: nobody deletes one, so the store has lost it."""
        self._revisions: dict[str, int] = {}
        self._gone: dict[str, None] = {}
        # What a watch that begins has said so far, and its highest revision; None: none begins.
        self._said: dict[str, None] | None = None
        self._highest = 0

    def begin(self) -> None:
        """A watch begins: it says first all that there is."""
        self._said = {}
        self._highest = 0

    def apply(self, change: Entry | Deleted | Current) -> bool:
        """Take what the store has said; whether that was news."""
        if isinstance(change, Current):
            return self._is_current()
        if self._said is not None:
            self._said[change.key] = None
            self._highest = max(self._highest, change.revision)
        return self.learn(change)

    def learn(self, change: Entry | Deleted) -> bool:
        """The same, of what was read or written beside the watch."""
        key = change.key
        if change.revision <= self._revisions.get(key, 0):
            return False
        self._revisions[key] = change.revision
        if key.startswith(SESSIONS):
            if isinstance(change, Deleted):
                self.forget(key)
            elif key not in self._gone and (session := decode_session(change.value)) is not None:
                before = self.sessions.get(key)
                self.sessions[key] = session
                # A renewal, of which there are many, is no news.
                return before is None or before.takes != session.takes
        elif key.startswith(OWNERS):
            if isinstance(change, Deleted):
                self._has_lost(key)
            elif (record := decode_record(change.value)) is not None:
                self.records[key] = Owned(record, change.revision)
        return True

    def forget(self, key: str) -> None:
        """A session is gone."""
        self.sessions.pop(key, None)
        self._gone[key] = None
        if len(self._gone) > MOST_GONE:
            referred = {owned.record.session: None for owned in self.records.values()}
            self._gone = {each: None for each in self._gone if each in referred}

    def _is_current(self) -> bool:
        said, self._said = self._said, None
        if said is None:
            return False
        self.is_complete = True
        # It may have been said by one that lags behind: of what is newer it says nothing.
        for key in [key for key, revision in self._revisions.items() if revision <= self._highest]:
            if key not in said:
                self._not_there(key)
        # A session was there before the record which refers to it. (While a watch goes on, it may
        # come later: of changes that follow closely only the last one is said.)
        for key, owned in self.records.items():
            if key in said and owned.revision <= self._highest:
                session = owned.record.session
                if session not in self.sessions:
                    self._gone[session] = None
        return True

    def _not_there(self, key: str) -> None:
        if key in self.sessions:
            self.forget(key)
        else:
            self._has_lost(key)
        self._revisions.pop(key, None)

    def _has_lost(self, key: str) -> None:
        if self.records.pop(key, None) is not None:
            self.lost = key

    def record(self, region: str, shard: int) -> Owned | None:
        """The record of a shard, if there is one."""
        return self.records.get(owner_key(region, shard))

    def fate(self, session: str) -> Fate:
        """What is known of a session."""
        if session in self.sessions:
            return Fate.LIVE
        return Fate.GONE if session in self._gone else Fate.UNKNOWN

    def unknown(self) -> list[str]:
        """The sessions that records refer to, and of which nothing is known."""
        sessions = (
            owned.record.session
            for owned in self.records.values()
            if owned.record.state == "held" and self.fate(owned.record.session) is Fate.UNKNOWN
        )
        return list(dict.fromkeys(sessions))

    def nodes(self, region: str) -> dict[str, int]:
        """The live nodes on which a region runs, by name; and how many shards it has there."""
        found = {
            session.node: session.takes[region]
            for session in self.sessions.values()
            if region in session.takes
        }
        return dict(sorted(found.items()))
