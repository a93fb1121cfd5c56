"""What a client is subscribed to."""

from __future__ import annotations

from transports.nats.errors import NatsError
from transports.nats.protocol import encode_subscribe
from transports.nats.subscription import Listening


class Registry:
    """The subscriptions of a client by their numbers.

    Attribute: `by_sid`.
    """

    def __init__(self) -> None:
        self.by_sid: dict[int, Listening] = {}
        self._last_sid = 0

    def new_sid(self) -> int:
        """The number of the next one."""
        self._last_sid += 1
        return self._last_sid

    def add(self, listening: Listening) -> bytes:
        """Add one; the command for the server."""
        self.by_sid[listening.sid] = listening
        return _command(listening)

    def commands(self) -> bytes:
        """The commands for a server that knows of none."""
        return b"".join(map(_command, self.by_sid.values()))

    def refused(self, subject: str, error: NatsError) -> None:
        """A server does not allow those to a subject."""
        for each in list(self.by_sid.values()):
            if each.subject == subject:
                del self.by_sid[each.sid]
                each._ended(error)

    def end(self, sids: list[int]) -> None:
        """Nothing more will come for these."""
        for sid in sids:
            listening = self.by_sid.pop(sid, None)
            if listening is not None:
                listening._ended(None)


def _command(listening: Listening) -> bytes:
    return encode_subscribe(listening.subject.encode(), listening.sid, listening.queue.encode())
