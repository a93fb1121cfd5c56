"""Buckets of keys and values, on a stream each: create, compare and set, TTL, watch."""

from __future__ import annotations

import base64
from typing import Any, Final, Literal

from transports.nats.client import Client
from transports.nats.errors import (
    ApiError,
    KeyExists,
    KeyNotFound,
    ProtocolFault,
    WrongRevision,
)
from transports.nats.headers import Headers, decode_headers
from transports.nats.jetstream import JetStream, ttl_header
from transports.nats.jetstream_types import StreamConfig, StreamInfo, check_name
from transports.nats.kv_types import (
    OPERATION,
    Entry,
    Operation,
    check_key,
    operation_of,
    seconds_of,
)
from transports.nats.subjects import check_pattern
from transports.nats.watch import Watch

NOT_FOUND: Final = 404
NO_MESSAGE: Final = 10037
WRONG_LAST_SEQUENCE: Final = (10071, 10164)


class KeyValue:
    """A bucket. What it raises, besides what is said below: as `JetStream`."""

    def __init__(self, client: Client, bucket: str, *, timeout: float = 5.0) -> None:
        self.bucket = check_name(bucket, "bucket")
        self.stream = f"KV_{bucket}"
        self.prefix = f"$KV.{bucket}."
        self.jetstream = JetStream(client, timeout=timeout)

    @classmethod
    async def create_bucket(
        cls,
        client: Client,
        bucket: str,
        *,
        history: int = 1,
        ttl: float = 0.0,
        marker_ttl: float = 0.0,
        storage: Literal["file", "memory"] = "file",
        replicas: int = 1,
        max_bytes: int = -1,
        first_revision: int = 0,
        timeout: float = 5.0,
    ) -> KeyValue:
        """Make a bucket; no error if it is there and the same.

        history: revisions of a key that are kept. ttl: seconds that a value lives; 0: for ever.
        marker_ttl: seconds that a watcher has time to see that a value's time was over; 0: only
        a new watch sees it. first_revision: of the first write; 0: 1.

        Raises:
            ApiError: it is there, and another one.
            ValueError: history is not from 1 to 64, or marker_ttl between 0 and 1.
        """
        if type(history) is not int or not 1 <= history <= 64:
            raise ValueError(f"history: an int from 1 to 64, not {history!r}")
        if marker_ttl and not marker_ttl >= 1:
            raise ValueError(f"marker_ttl: seconds, 0 or from 1 up, not {marker_ttl!r}")
        made = cls(client, bucket, timeout=timeout)
        await made.jetstream.create_stream(
            StreamConfig(
                name=made.stream,
                subjects=(f"{made.prefix}>",),
                storage=storage,
                replicas=replicas,
                discard="new",
                max_bytes=max_bytes,
                max_age=ttl,
                max_messages_per_subject=history,
                duplicate_window=min(120.0, ttl) if ttl else 120.0,
                allow_rollup=True,
                deny_delete=True,
                allow_direct=True,
                allow_message_ttl=True,
                marker_ttl=marker_ttl,
                first_sequence=first_revision,
            )
        )
        return made

    async def delete_bucket(self) -> None:
        """Delete it with all that it has."""
        await self.jetstream.delete_stream(self.stream)

    async def info(self) -> StreamInfo:
        """Its stream."""
        return await self.jetstream.stream_info(self.stream)

    async def get(self, key: str, *, from_leader: bool = False) -> Entry:
        """The newest value of a key.

        from_leader: what was stored before is seen in any case; otherwise any replica answers.

        Raises:
            KeyNotFound: there is none.
        """
        entry = await self._last(key, from_leader)
        if entry is None or entry.operation is not Operation.PUT:
            raise KeyNotFound(self.bucket, key)
        return entry

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> int:
        """Set a value, whatever there was; its revision. ttl: seconds from 1 up, rounded up."""
        return await self._store(key, value, None, ttl=ttl)

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> int:
        """Set a value where there is none; its revision.

        Raises:
            KeyExists: there is one.
            OutcomeUnknown, RequestTimeout: perhaps it is this one.
        """
        expected = 0
        while True:
            try:
                return await self._store(key, value, expected, ttl=ttl)
            except WrongRevision:
                last = await self._last(key, True)
                if last is not None and last.operation is Operation.PUT:
                    raise KeyExists(self.bucket, key) from None
                # A marker, or nothing any more; if that changes again, somebody else has got it.
                revision = 0 if last is None else last.revision
                if revision == expected:
                    raise KeyExists(self.bucket, key) from None
                expected = revision

    async def update(
        self, key: str, value: bytes, revision: int, *, ttl: float | None = None
    ) -> int:
        """Set a value if the key is at `revision` now; its new revision.

        Raises:
            WrongRevision: it is not.
            OutcomeUnknown, RequestTimeout: perhaps it was.
        """
        return await self._store(key, value, revision, ttl=ttl)

    async def delete(self, key: str, *, revision: int | None = None) -> int:
        """Put a marker in its place; older revisions stay in the history.

        revision: only if the key is at it now.

        Raises:
            WrongRevision: it is not.
        """
        return await self._store(key, b"", revision, {OPERATION: "DEL"})

    async def purge(
        self, key: str, *, revision: int | None = None, ttl: float | None = None
    ) -> int:
        """As `delete`, and without history. ttl: seconds until the marker is gone as well."""
        headers = {OPERATION: "PURGE", "Nats-Rollup": "sub"}
        return await self._store(key, b"", revision, headers, ttl=ttl)

    async def keys(self, pattern: str = ">") -> list[str]:
        """The keys that have a value now, sorted."""
        found: dict[str, bool] = {}
        async with self.watch(pattern, headers_only=True) as watch:
            async for event in watch:
                if not isinstance(event, Entry):
                    break
                found[event.key] = event.operation is Operation.PUT
        return sorted(key for key, is_there in found.items() if is_there)

    def watch(
        self, pattern: str = ">", *, headers_only: bool = False, heartbeat: float = 2.0
    ) -> Watch:
        """See `Watch`. pattern: of keys, with wildcards as in subjects.

        Raises:
            InvalidSubject: it is no pattern.
        """
        check_pattern(pattern)
        return Watch(self, pattern, headers_only, heartbeat)

    async def _store(
        self,
        key: str,
        value: bytes,
        revision: int | None,
        headers: dict[str, str] | None = None,
        *,
        ttl: float | None = None,
    ) -> int:
        if ttl is not None:
            ttl_header(ttl)
        try:
            stored = await self.jetstream.publish(
                self.prefix + check_key(key),
                value,
                headers=headers,
                ttl=ttl,
                expected_last_subject_sequence=revision,
            )
        except ApiError as error:
            if error.err_code in WRONG_LAST_SEQUENCE and revision is not None:
                raise WrongRevision(self.bucket, key, revision) from None
            raise
        return stored.sequence

    async def subjects(self, pattern: str) -> list[str]:
        """The keys that have a value or a marker now, as the stream's leader knows."""
        found: list[str] = []
        while True:
            answer = await self.jetstream.api(
                f"STREAM.INFO.{self.stream}",
                {"subjects_filter": self.prefix + pattern, "offset": len(found)},
            )
            try:
                page = answer["state"].get("subjects") or {}
                found += [subject.removeprefix(self.prefix) for subject in page]
            except (KeyError, TypeError, AttributeError) as error:
                raise ProtocolFault(f"an answer of JetStream lacks {error}") from None
            if not page or len(found) >= answer.get("total", 0):
                return found

    async def last(self, key: str) -> Entry | None:
        """The newest message of a key, as the stream's leader knows; it may be a marker."""
        return await self._last(key, True)

    async def _last(self, key: str, from_leader: bool) -> Entry | None:
        """The newest message of a key, which may be a marker."""
        subject = self.prefix + check_key(key)
        if not from_leader:
            api = f"{self.jetstream.prefix}.DIRECT.GET.{self.stream}.{subject}"
            message = await self.jetstream.request(api)
            if message.status == NOT_FOUND:
                return None
            headers = message.headers
            try:
                revision = int(headers["Nats-Sequence"])
                created = seconds_of(headers["Nats-Time-Stamp"])
            except (KeyError, ValueError) as error:
                raise ProtocolFault(f"an answer of JetStream lacks {error}") from None
            return Entry(self.bucket, key, message.data, revision, operation_of(headers), created)
        try:
            answer = await self.jetstream.api(
                f"STREAM.MSG.GET.{self.stream}", {"last_by_subj": subject}
            )
        except ApiError as error:
            if error.code == NOT_FOUND and error.err_code == NO_MESSAGE:
                return None
            raise
        return self._entry(key, answer)

    def _entry(self, key: str, answer: dict[str, Any]) -> Entry:
        try:
            message = answer["message"]
            head = base64.b64decode(message.get("hdrs", ""), validate=True)
            value = base64.b64decode(message.get("data", ""), validate=True)
            revision, created = int(message["seq"]), seconds_of(message["time"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolFault(f"an answer of JetStream lacks {error}") from None
        headers = decode_headers(head)[0] if head else Headers()
        return Entry(self.bucket, key, value, revision, operation_of(headers), created)
