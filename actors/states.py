"""The life of an actor, as a table."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from actors.cell import Cell


class State(enum.Enum):
    """Where an actor is in its life. Only RUNNING and DRAINING handle messages."""

    STARTING = "starting"
    """`started()` has not returned yet; messages queue."""
    RUNNING = "running"
    DRAINING = "draining"
    """Told to stop: it handles what was queued before, and takes no more."""
    FAILED = "failed"
    """It waits for its parent's decision; messages queue."""
    RESTARTING = "restarting"
    """Its children stop and its old incarnation cleans up; messages queue."""
    STOPPING = "stopping"
    """Its children stop, then `stopped()` runs."""
    STOPPED = "stopped"

    followers: tuple[State, ...]
    """What may follow: its row of TRANSITIONS."""


STARTING: Final = State.STARTING
RUNNING: Final = State.RUNNING
DRAINING: Final = State.DRAINING
FAILED: Final = State.FAILED
RESTARTING: Final = State.RESTARTING
STOPPING: Final = State.STOPPING
STOPPED: Final = State.STOPPED

TRANSITIONS: Final[Mapping[State, tuple[State, ...]]] = MappingProxyType(
    {
        STARTING: (RUNNING, DRAINING, FAILED, RESTARTING, STOPPING),
        RUNNING: (DRAINING, FAILED, RESTARTING, STOPPING, STOPPED),
        DRAINING: (FAILED, STOPPING, STOPPED),
        FAILED: (RUNNING, RESTARTING, STOPPING),
        RESTARTING: (STARTING, RUNNING, DRAINING, FAILED, STOPPING),
        STOPPING: (STOPPED,),
        STOPPED: (),
    }
)
"""From each state, those it may be followed by. RUNNING to STOPPED in one step is an idle actor
without children and without a `stopped()` hook: there is nothing to wait for."""

for _state, _followers in TRANSITIONS.items():
    _state.followers = _followers


def enter(cell: Cell, state: State) -> None:
    """Go to `state`, which must be one that may follow."""
    if state not in cell._state.followers:
        raise AssertionError(f"{cell}: {cell._state.value} is not followed by {state.value}")
    cell._state = state
