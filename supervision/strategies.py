"""What a supervisor does about a failure, as pure policies: who restarts, how often, how soon."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from actors import Directive, Escalate, Restart, Resume, Stop
from actors.intensity import Intensity
from supervision.backoff import Wait, check_wait

SEVERITY: Final = (Resume, Restart, Stop, Escalate)
"""From the mildest: of the exceptions in a group, the severest decision counts."""


def _directive(value: Any) -> Directive:
    """`Restart` for `Restart()`: what is meant is plain."""
    made = value() if isinstance(value, type) and issubclass(value, SEVERITY) else value
    if not isinstance(made, SEVERITY):
        raise TypeError(f"a decision is Restart(), Resume(), Stop() or Escalate(), not {value!r}")
    return made


def _decisions(given: Any) -> Mapping[type[BaseException], Directive]:
    if not isinstance(given, Mapping):
        raise TypeError(f"decisions is a dict, of a decision by exception class: {given!r}")
    for cls in given:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise TypeError(f"decisions are by exception class, and {cls!r} is none")
    return {cls: _directive(value) for cls, value in given.items()}


@attrs.frozen(kw_only=True)
class Strategy(abc.ABC):
    """The base of OneForOne, OneForAll and RestForOne.

    max_restarts, within: restarts of all children together within any `within` seconds; at one more
        the supervisor fails with TooManyRestarts, and its parent decides. None: no limit.
    backoff: a tenacity wait object (`wait_exponential_jitter(max=5)`), or any function that
        takes what those take: seconds before each restart. Attempts are counted for each child,
        from 1 again after `within` seconds without a failure. None: at once.
    decisions: by exception class, the nearest one in the exception's own method resolution order:
        Restart(), Resume(), Stop() or Escalate(). What is not in it is restarted. Of an
        ExceptionGroup that is not in it itself, the severest decision about any of its
        exceptions counts: Escalate, Stop, Restart, Resume.

    Raises:
        ValueError, TypeError: a limit, wait or decision that is none.
    """

    max_restarts: int | None = 5
    within: float = 60.0
    backoff: Wait | None = attrs.field(default=None, validator=check_wait)
    decisions: Mapping[type[BaseException], Directive] = attrs.field(
        factory=dict, converter=_decisions
    )

    def __attrs_post_init__(self) -> None:
        self.intensity()

    def intensity(self) -> Intensity:
        """A new window of restarts with these limits."""
        return Intensity(self.max_restarts, self.within)

    def decide(self, exception: BaseException) -> Directive:
        """What to do about an actor that failed by this exception."""
        is_group = isinstance(exception, BaseExceptionGroup)
        for cls in type(exception).__mro__:
            # (A group is an Exception too; what is said of those is said of its members.)
            if cls in self.decisions and (not is_group or issubclass(cls, BaseExceptionGroup)):
                return self.decisions[cls]
        if isinstance(exception, BaseExceptionGroup):
            return max(map(self.decide, exception.exceptions), key=_severity)
        return Restart()

    @abc.abstractmethod
    def group(self, names: Sequence[str], failed: str) -> Sequence[str]:
        """Who restarts when `failed` does: some of `names`, in their order (that of start)."""


def _severity(directive: Directive) -> int:
    return SEVERITY.index(type(directive))


class OneForOne(Strategy):
    """Only the child that failed is restarted."""

    def group(self, names: Sequence[str], failed: str) -> Sequence[str]:
        """The failed one alone."""
        return (failed,)


class OneForAll(Strategy):
    """All children are restarted: stopped in reverse order, then started in order."""

    def group(self, names: Sequence[str], failed: str) -> Sequence[str]:
        """All."""
        return names


class RestForOne(Strategy):
    """The child that failed and those started after it are restarted, in that manner."""

    def group(self, names: Sequence[str], failed: str) -> Sequence[str]:
        """The failed one and those behind it."""
        return names[names.index(failed) :]
