"""The errors of `transports`; the tree is drawn in `actors.errors`."""

from __future__ import annotations

from actors import ActorError


class NotEncodable(ActorError, TypeError):
    """A message cannot be sent to another process. Attributes: `value`, `why`."""

    def __init__(self, value: object, why: str) -> None:
        self.value = value
        self.why = why
        super().__init__(f"{type(value).__name__} cannot be sent to another process: {why}")


class DecodeError(ActorError, ValueError):
    """Bytes from a peer are not what they should be; nothing of them reaches an actor.

    Attributes: `path` (where in the message: "$" is its top, "$.items[1]" below), `why`.
    """

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"{why} (at {path})")
