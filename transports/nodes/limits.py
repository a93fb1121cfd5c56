"""The bounds of a node."""

from __future__ import annotations

from typing import Any

import attrs


def _positive(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} is above 0, not {value!r}")


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds of a node. Seconds, messages and bytes.

    window: messages of a peer that may be here and not yet in their mailboxes. window_bytes: the
    same in bytes; the message with which they pass it is taken still. per_target: of this node's,
    for one actor elsewhere, on the way; and no more than half of what the peer's window has room
    for, but for the first 64. outbox: that wait for a peer's window. max_message: bytes of the
    largest one, the same on all nodes. answers: bytes of replies, items and the like that a peer
    has not acknowledged: with more it is given up. handshake_within; lost_after: how long a peer
    may be out of reach until it is given up; heartbeat: between two PINGs: a connection on which
    nothing is heard is broken after 3 of them at the latest; dial_at_most: between two attempts to
    connect; leave_within: for the last messages when the system is left.

    Raises:
        ValueError: one is not above 0.
    """

    window: int = attrs.field(default=4096, validator=_positive)
    window_bytes: int = attrs.field(default=1 << 26, validator=_positive)
    per_target: int = attrs.field(default=1024, validator=_positive)
    outbox: int = attrs.field(default=4096, validator=_positive)
    max_message: int = attrs.field(default=1 << 24, validator=_positive)
    answers: int = attrs.field(default=1 << 28, validator=_positive)
    handshake_within: float = attrs.field(default=5.0, validator=_positive)
    lost_after: float = attrs.field(default=10.0, validator=_positive)
    heartbeat: float = attrs.field(default=1.0, validator=_positive)
    resend_after: float = attrs.field(default=0.5, validator=_positive)
    dial_at_most: float = attrs.field(default=2.0, validator=_positive)
    leave_within: float = attrs.field(default=2.0, validator=_positive)

    @property
    def max_frame(self) -> int:
        """Bytes of the largest frame: the largest message, and what is around it."""
        return self.max_message + 65_536
