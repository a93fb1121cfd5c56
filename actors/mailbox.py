"""How many messages an actor may have waiting, and what happens to the one too many."""

from __future__ import annotations

from typing import Final, Literal, get_args

import attrs

Overflow = Literal["reject", "drop_oldest", "drop_newest"]
OVERFLOWS: Final = get_args(Overflow)

UNLIMITED: Final = (1 << 30) - 1
"""Room of a mailbox without a capacity: 8 GB of pointers, and still one digit of a Python int."""

CLOSED: Final = 1 << 40
"""Taken off the room of a mailbox that takes no more messages."""


class _Nothing:
    __slots__ = ()

    def __repr__(self) -> str:
        return "<nothing>"


NOTHING: Final = _Nothing()
"""In the place of a message where there is none: any object, None included, can be a message."""


@attrs.frozen
class Mailbox:
    """The mailbox settings of an actor class: ``mailbox = Mailbox(capacity=100)``.

    capacity: messages that may wait, the one being handled not counted; None for no limit, which
        must be asked for, because then only memory stops a sender.
    overflow: what `tell` does when there is no room. "reject" raises MailboxFull to the sender;
        "drop_oldest" and "drop_newest" put one message to the dead letters instead.
        `send` and `ask` always wait for room.

    Raises:
        ValueError: capacity is not None and not from 1 to 2**30 - 2; or no such overflow policy.
        TypeError: capacity is no int.
    """

    capacity: int | None = 10_000
    overflow: Overflow = "reject"

    def __attrs_post_init__(self) -> None:
        if self.capacity is not None:
            if type(self.capacity) is not int:
                raise TypeError(f"capacity is an int or None, not {self.capacity!r}")
            if not 1 <= self.capacity < UNLIMITED:
                raise ValueError(
                    f"capacity is from 1 to {UNLIMITED - 1}, or None for no limit: {self.capacity}"
                )
        if self.overflow not in OVERFLOWS:
            raise ValueError(f"overflow is one of {', '.join(OVERFLOWS)}, not {self.overflow!r}")

    @property
    def room(self) -> int:
        """The room of an empty mailbox, in messages."""
        return UNLIMITED if self.capacity is None else self.capacity
