"""Tools for testing programs made of actors: virtual time, probes, faults at every step.

For tests only: nothing of the runtime imports this package. Its pytest plugin installs by itself.
"""

from actors.testing import effects
from actors.testing.clock import VirtualClock
from actors.testing.crashes import InjectedCrash, NotSurvived, Survived, crash_every_step
from actors.testing.deadlock import Deadlock, guard, run_virtually
from actors.testing.kit import ActorKit
from actors.testing.probe import Probe

__all__ = [
    "ActorKit",
    "Deadlock",
    "InjectedCrash",
    "NotSurvived",
    "Probe",
    "Survived",
    "VirtualClock",
    "crash_every_step",
    "effects",
    "guard",
    "run_virtually",
]
