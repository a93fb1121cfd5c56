"""What is said of each failure: to the log, and to actors that want to hear of it."""

from __future__ import annotations

import logging
import reprlib
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from actors.messages import notice
from actors.subscribers import Subscribers

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.address import Address
    from actors.failure import Failure
    from actors.ref import ActorRef

log = logging.getLogger("actors")

_short: Final = reprlib.Repr()
_short.maxother = _short.maxstring = _short.maxlong = 80


@notice
@attrs.frozen(eq=False)
class CrashReport:
    """One failure of one actor, and what was decided about it.

    address, incarnation, during, message, exception: as in Failure.
    restarts: how often the actor had been restarted before.
    queued: messages that wait in its mailbox.
    state: what `Actor.state_summary` gave, each value as a short text; empty if there is no
        incarnation (its constructor failed).
    decision: what its parent decided, in words.
    failure: the Failure itself.
    """

    address: Address
    incarnation: int
    restarts: int
    during: str
    message: object
    exception: BaseException
    queued: int
    state: Mapping[str, str]
    decision: str
    failure: Failure = attrs.field(repr=False)

    @property
    def traceback(self) -> str:
        """As Python prints it, with causes and groups."""
        return "".join(traceback.format_exception(self.exception))


class CrashReports(Subscribers):
    """The crash reports of one system: `system.crash_reports`.

    An actor that subscribes is told each as a CrashReport. Each is also logged to the logger
    "actors" (ERROR; CRITICAL if it ends the system), with the report as the record's attribute
    `crash_report`. None is kept: tracebacks hold on to all that their frames hold.
    """

    def wanted(self, level: int = logging.ERROR) -> bool:
        """Whether anybody would see a report: to put one into words costs more than a restart."""
        return bool(self._subscribers) or log.isEnabledFor(level)

    def publish(
        self, ref: ActorRef, failure: Failure, decision: str, level: int = logging.ERROR
    ) -> None:
        """Log and tell one. (For the runtime, before the decision is carried out.)"""
        if not self.wanted(level):
            return
        # Of one on another node nothing more is known here.
        actor = getattr(ref, "_actor", None)
        report = CrashReport(
            address=ref.address,
            incarnation=failure.incarnation,
            restarts=max(0, failure.incarnation - 1),
            during=failure.during,
            message=failure.message,
            exception=failure.exception,
            queued=ref._waiting_messages(),
            state={} if actor is None else _summary(actor),
            decision=decision,
            failure=failure,
        )
        log.log(
            level,
            "%s; %s",
            failure.describe(),
            decision,
            exc_info=failure.exception,
            extra={"crash_report": report},
        )
        if not isinstance(failure.message, CrashReport):
            # A subscriber that fails at a report must not be sent the report of that.
            self._tell_all(report)


def _summary(actor: Actor) -> dict[str, str]:
    try:
        values = dict(actor.state_summary())
    except Exception as error:
        # It belongs to the user; a report of one failure must not die of a second one.
        return {"state_summary": f"raised {type(error).__name__}: {error}"}
    return {str(name): _short.repr(value) for name, value in values.items()}
