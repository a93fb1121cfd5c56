"""What to do when an actor fails: supervisors, restart strategies, backoff, pools.

Read `kinds` and `strategies` (what is decided), then `base` (how it is carried out), then the
three supervisors: `supervisor`, `dynamic`, `pool`.
"""

from supervision.child import ChildSpec, child
from supervision.dynamic import DynamicSupervisor
from supervision.errors import ChildExited, NoSuchChild, TooManyChildren, TooManyRestarts
from supervision.kinds import Kind
from supervision.pool import Pool, Resize
from supervision.routing import Broadcast, ConsistentHash, LeastLoaded, RoundRobin, Routing
from supervision.strategies import OneForAll, OneForOne, RestForOne, Strategy
from supervision.supervisor import Supervisor
from supervision.views import (
    ChildCounts,
    ChildInfo,
    CountChildren,
    RestartChild,
    StartChild,
    StopChild,
    WhichChildren,
)

__all__ = [
    "Broadcast",
    "ChildCounts",
    "ChildExited",
    "ChildInfo",
    "ChildSpec",
    "ConsistentHash",
    "CountChildren",
    "DynamicSupervisor",
    "Kind",
    "LeastLoaded",
    "NoSuchChild",
    "OneForAll",
    "OneForOne",
    "Pool",
    "Resize",
    "RestForOne",
    "RestartChild",
    "RoundRobin",
    "Routing",
    "StartChild",
    "StopChild",
    "Strategy",
    "Supervisor",
    "TooManyChildren",
    "TooManyRestarts",
    "WhichChildren",
    "child",
]
