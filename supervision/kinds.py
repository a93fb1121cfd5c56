"""Which children are restarted: OTP's restart types, as a table."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from actors import ExitReason, Failure


class Kind(enum.StrEnum):
    """What a child is to its supervisor. The words are OTP's."""

    PERMANENT = "permanent"
    """Always there: restarted whatever it ended by."""
    TRANSIENT = "transient"
    """Restarted when it failed or was killed; it may end by itself."""
    TEMPORARY = "temporary"
    """Never restarted, not even when a sibling's failure is what stopped it."""


class Exit(enum.StrEnum):
    """By what a child ended: an ExitReason, or a failure."""

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    KILLED = "killed"
    FAILURE = "failure"

    @classmethod
    def of(cls, reason: ExitReason | Failure) -> Exit:
        """The column of RESTARTED for a child's end."""
        return cls.FAILURE if isinstance(reason, Failure) else cls(reason.value)


RESTARTED: Final[Mapping[Kind, Mapping[Exit, bool]]] = MappingProxyType(
    {
        Kind.PERMANENT: MappingProxyType(dict.fromkeys(Exit, True)),
        Kind.TRANSIENT: MappingProxyType(
            {
                Exit.NORMAL: False,
                Exit.SHUTDOWN: False,
                Exit.KILLED: True,
                Exit.FAILURE: True,
            }
        ),
        Kind.TEMPORARY: MappingProxyType(dict.fromkeys(Exit, False)),
    }
)
"""Whether a child of this kind that ended so is restarted (OTP, supervisor(3), "Child spec")."""
