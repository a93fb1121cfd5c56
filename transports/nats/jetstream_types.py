"""What JetStream is told and tells of streams and consumers. Seconds here, nanoseconds there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from transports.nats.errors import InvalidSubject, ProtocolFault
from transports.nats.protocol import Message

NANOSECONDS: Final = 1_000_000_000

_NAME: Final = re.compile(r"[A-Za-z0-9_=-]{1,255}")


def check_name(name: str, what: str) -> str:
    """The name of a stream or consumer.

    Raises:
        InvalidSubject: it has other characters than letters, digits, "_", "-", "=".
    """
    if type(name) is not str or not _NAME.fullmatch(name):
        raise InvalidSubject(name, f'a {what} has a name of letters, digits, "_", "-" and "="')
    return name


def nanoseconds(seconds: float) -> int:
    """Seconds as JetStream counts them."""
    return round(seconds * NANOSECONDS)


@attrs.frozen(kw_only=True)
class StreamConfig:
    """A stream. Numbers of -1, and seconds of 0, are no limit.

    retention: "workqueue": each message until one consumer has acknowledged it; "interest": until
    all have. marker_ttl: how long a marker stays where the last message of a subject went by its
    age; 0: there is none. first_sequence: of its first message; 0: 1.
    """

    name: str = attrs.field()
    subjects: Sequence[str]
    retention: Literal["limits", "interest", "workqueue"] = "limits"
    storage: Literal["file", "memory"] = "file"
    replicas: int = 1
    discard: Literal["old", "new"] = "old"
    max_messages: int = -1
    max_bytes: int = -1
    max_age: float = 0.0
    max_messages_per_subject: int = -1
    max_message_size: int = -1
    duplicate_window: float = 120.0
    allow_rollup: bool = False
    deny_delete: bool = False
    allow_direct: bool = False
    allow_message_ttl: bool = False
    marker_ttl: float = 0.0
    first_sequence: int = 0
    description: str = ""

    @name.validator
    def _check_name(self, _: object, name: str) -> None:
        check_name(name, "stream")

    def to_json(self) -> dict[str, Any]:
        """As the API takes it."""
        data: dict[str, Any] = {
            "name": self.name,
            "subjects": list(self.subjects),
            "retention": self.retention,
            "storage": self.storage,
            "num_replicas": self.replicas,
            "discard": self.discard,
            "max_msgs": self.max_messages,
            "max_bytes": self.max_bytes,
            "max_age": nanoseconds(self.max_age),
            "max_msgs_per_subject": self.max_messages_per_subject,
            "max_msg_size": self.max_message_size,
            "max_consumers": -1,
            "duplicate_window": nanoseconds(self.duplicate_window),
            "allow_rollup_hdrs": self.allow_rollup,
            "deny_delete": self.deny_delete,
            "allow_direct": self.allow_direct,
            "allow_msg_ttl": self.allow_message_ttl,
        }
        if self.marker_ttl:
            data["subject_delete_marker_ttl"] = nanoseconds(self.marker_ttl)
        if self.first_sequence:
            data["first_seq"] = self.first_sequence
        if self.description:
            data["description"] = self.description
        return data


@attrs.frozen
class StreamInfo:
    """A stream as it is. leader: the server that leads it; "" without a cluster.

    config: as the server has it, in its own words.
    """

    name: str
    messages: int
    first_sequence: int
    last_sequence: int
    consumers: int
    leader: str
    config: Mapping[str, Any]

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> StreamInfo:
        """Raises: ProtocolFault: it is none."""
        try:
            state = data["state"]
            return cls(
                str(data["config"]["name"]),
                int(state["messages"]),
                int(state["first_seq"]),
                int(state["last_seq"]),
                int(state.get("consumer_count", 0)),
                str((data.get("cluster") or {}).get("leader") or ""),
                data["config"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolFault(f"an answer of JetStream lacks {error}") from None


@attrs.frozen(kw_only=True)
class ConsumerConfig:
    """A pull consumer. Its messages are to be acknowledged one by one.

    name: it is durable, unless `inactive_after` (seconds without a fetch) says otherwise. ack_wait:
    seconds until a message without an answer is given out again. max_deliver: how often at most;
    -1: no limit. filter_subjects: none: all. max_ack_pending: messages that are given out and not
    answered.
    """

    name: str = attrs.field()
    filter_subjects: Sequence[str] = ()
    deliver: Literal["all", "new", "last", "last_per_subject"] = "all"
    ack_wait: float = 30.0
    max_deliver: int = -1
    max_ack_pending: int = 1000
    inactive_after: float = 0.0
    replicas: int = 0

    @name.validator
    def _check_name(self, _: object, name: str) -> None:
        check_name(name, "consumer")

    def to_json(self) -> dict[str, Any]:
        """As the API takes it."""
        data: dict[str, Any] = {
            "name": self.name,
            "deliver_policy": self.deliver,
            "ack_policy": "explicit",
            "replay_policy": "instant",
            "ack_wait": nanoseconds(self.ack_wait),
            "max_deliver": self.max_deliver,
            "max_ack_pending": self.max_ack_pending,
            "num_replicas": self.replicas,
        }
        if self.inactive_after:
            data["inactive_threshold"] = nanoseconds(self.inactive_after)
        else:
            data["durable_name"] = self.name
        if len(self.filter_subjects) == 1:
            data["filter_subject"] = self.filter_subjects[0]
        elif self.filter_subjects:
            data["filter_subjects"] = list(self.filter_subjects)
        return data


@attrs.frozen
class PubAck:
    """A stream has the message. duplicate: it had it already, by its message id."""

    stream: str
    sequence: int
    duplicate: bool


@attrs.frozen
class Position:
    """Where a delivered message stands; from its reply subject.

    deliveries: 1: it is the first time. sequence: in the stream. consumer_sequence: which delivery
    of this consumer it is. created: seconds since 1970. pending: messages of the consumer that are
    still to be given out.
    """

    deliveries: int
    sequence: int
    consumer_sequence: int
    created: float
    pending: int

    @classmethod
    def of(cls, message: Message) -> Position:
        """Raises: ProtocolFault: the message is not from a consumer."""
        tokens = message.reply.split(".")
        # With a domain and an account before the stream, and a random token behind, since 2.3.
        start = 4 if len(tokens) == 9 else 6
        if tokens[:2] != ["$JS", "ACK"] or len(tokens) not in {9, 11, 12}:
            raise ProtocolFault(f"{message.reply!r} is not from a consumer")
        try:
            deliveries, sequence, number, created, pending = map(int, tokens[start : start + 5])
        except ValueError:
            raise ProtocolFault(f"{message.reply!r} is not from a consumer") from None
        return cls(deliveries, sequence, number, created / NANOSECONDS, pending)
