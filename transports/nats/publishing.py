"""Messages as commands: what can never be sent is refused before it is in the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from transports.nats.errors import OutboxFull, PayloadTooLarge
from transports.nats.events import Statistics
from transports.nats.headers import encode_headers
from transports.nats.outbox import Outbox
from transports.nats.protocol import encode_publish
from transports.nats.subjects import check_subject

MOST_SUBJECTS: Final = 4096
"""Subjects that are remembered as valid."""


class Publishing:
    """Puts PUB and HPUB into the outbox. Attribute: `max_payload`, of the server."""

    def __init__(self, outbox: Outbox, statistics: Statistics) -> None:
        self.max_payload = 0
        self._outbox = outbox
        self._statistics = statistics
        self._subjects: dict[str, bytes] = {}

    def command(
        self, subject: str, data: bytes, reply: bytes, headers: Mapping[str, str] | None
    ) -> bytes:
        """The command for a message; `reply` is checked already.

        Raises:
            PayloadTooLarge, InvalidSubject, InvalidHeader.
        """
        checked = self._subjects.get(subject)
        if checked is None:
            checked = check_subject(subject)
            if len(self._subjects) >= MOST_SUBJECTS:
                self._subjects.clear()
            self._subjects[subject] = checked
        head = encode_headers(headers) if headers else b""
        size = len(data) + len(head)
        if size > self.max_payload:
            raise PayloadTooLarge(subject, size, self.max_payload)
        if head or reply:
            return encode_publish(checked, data, reply, head)
        # As there, without a call: this is what comes by the thousand.
        return b"PUB %b %d\r\n%b\r\n" % (checked, size, data)

    def put(self, subject: str, data: bytes, command: bytes) -> None:
        """Put a command into the outbox.

        Raises:
            OutboxFull: it was not taken.
        """
        outbox, statistics = self._outbox, self._statistics
        if not outbox.has_room(len(command)):
            raise OutboxFull(subject, bytes(data), outbox.size, outbox.capacity)
        outbox.put(command)
        statistics.published += 1
        statistics.published_bytes += len(data)
