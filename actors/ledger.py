"""The conservation of messages: each one that is sent ends exactly once, and it is counted.

Two counts are kept apart, so that `missing` is an oracle and not a tautology. What an actor takes
over from its senders uses room of its mailbox, message by message or list by list, and gives it
back; how each message ended is counted where it ended. A message that is lost or doubled in
between leaves the two apart. (Until it is taken over, a message is counted by the list it is in.)
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Ledger:
    """A snapshot, in messages since the system was entered.

    sent: by tell, send, ask, forward, timers, and notices of termination.
    handled: the handler returned. failed: it raised. expired: the asker had gone, or its time was
    up, before the handler started (or while it ran, where the actor cancels abandoned handlers).
    rejected: refused to the sender by an error (MailboxFull; ActorStopped, for an ask; AskTimeout,
    for one that got no room in time). dead: in the dead letters, with a reason.
    queued: in a mailbox or stash now. in_flight: being handled now.
    delivered: acknowledged by another node, in whose ledger it is now. (Until then it is queued.)
    restarts: of actors; no part of the sum.

    Read inside a plain `def` handler, the messages of the batch that is running (64 at most) are
    not in it yet, neither as sent nor as handled.
    """

    sent: int
    handled: int
    failed: int
    expired: int
    rejected: int
    dead: int
    queued: int
    in_flight: int
    restarts: int
    delivered: int = 0

    @property
    def missing(self) -> int:
        """`sent` less everything that messages can come to. Not 0: the runtime has a bug."""
        return self.sent - (
            self.handled
            + self.failed
            + self.expired
            + self.rejected
            + self.dead
            + self.queued
            + self.in_flight
            + self.delivered
        )


class Counters:
    """The running counts. `taken`: out of a mailbox; `at_the_door`: sent, but never in one.

    `outbox`: on the way to another node, not acknowledged.
    """

    __slots__ = (
        "at_the_door",
        "dead",
        "delivered",
        "expired",
        "failed",
        "handled",
        "outbox",
        "rejected",
        "restarts",
        "taken",
    )

    def __init__(self) -> None:
        self.taken = 0
        self.at_the_door = 0
        self.handled = 0
        self.failed = 0
        self.expired = 0
        self.rejected = 0
        self.dead = 0
        self.restarts = 0
        self.delivered = 0
        self.outbox = 0

    def snapshot(self, *, outstanding: int, queued: int, begun: int, in_flight: int) -> Ledger:
        """The ledger now.

        outstanding: room that senders used and no receiver gave back yet. begun: messages that
        turns which are under way have begun; of those all but `in_flight` are handled.
        """
        handled = self.handled + begun - in_flight
        # A plain batch that is under way is counted at its end, but corrects at once: of it, what
        # did not end as handled is counted now.
        early = max(0, -handled)
        return Ledger(
            sent=self.at_the_door + self.taken + begun + outstanding + early,
            handled=handled + early,
            failed=self.failed,
            expired=self.expired,
            rejected=self.rejected,
            dead=self.dead,
            queued=queued + self.outbox,
            in_flight=in_flight,
            restarts=self.restarts,
            delivered=self.delivered,
        )
