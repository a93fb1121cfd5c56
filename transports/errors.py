"""The errors of `transports`; the tree is drawn in `actors.errors`."""

from __future__ import annotations

from actors import ActorError


class NotEncodable(ActorError, TypeError):
    """A message, reply or class cannot be sent to another process.

    Attributes: `value`, `why`, `path` (where in the value: "$" is its top, "$.items[1]" below).
    """

    def __init__(self, value: object, why: str, path: str = "$") -> None:
        self.value = value
        self.why = why
        self.path = path
        cls = value if isinstance(value, type) else type(value)
        where = "" if path == "$" else f" (at {path})"
        super().__init__(f"{cls.__name__} cannot be sent to another process: {why}{where}")


class DecodeError(ActorError, ValueError):
    """Bytes from a peer are not what they should be; nothing of them reaches an actor.

    Attributes: `path` (where in the message: "$" is its top, "$.items[1]" below), `why`.
    """

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"{why} (at {path})")
