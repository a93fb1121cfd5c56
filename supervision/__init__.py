"""What to do when an actor fails: supervisors, restart strategies, backoff, pools.

Read `kinds` and `strategies` (what is decided), then `restarting` (how it is carried out) and
`base`, then the three supervisors: `supervisor`, `dynamic`, `pool`; then `processes`, for those of
the operating system.
"""

from supervision.child import ChildSpec, child
from supervision.circuit_breaker import CircuitBreaker, CircuitState
from supervision.dynamic import DynamicSupervisor
from supervision.errors import (
    ChildExited,
    ChildLost,
    CircuitOpen,
    NoSuchChild,
    RateLimited,
    TooManyChildren,
    TooManyRestarts,
    TryAgainLater,
    WorkerExited,
    WorkerLost,
)
from supervision.kinds import Kind
from supervision.pool import Pool, Resize
from supervision.processes import ProcessInfo, WhichProcess, WorkerProcesses
from supervision.rate_limit import RateLimit
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
from supervision.watchdog import ThreadHeld, Watchdog

__all__ = [
    "Broadcast",
    "ChildCounts",
    "ChildExited",
    "ChildInfo",
    "ChildLost",
    "ChildSpec",
    "CircuitBreaker",
    "CircuitOpen",
    "CircuitState",
    "ConsistentHash",
    "CountChildren",
    "DynamicSupervisor",
    "Kind",
    "LeastLoaded",
    "NoSuchChild",
    "OneForAll",
    "OneForOne",
    "Pool",
    "ProcessInfo",
    "RateLimit",
    "RateLimited",
    "Resize",
    "RestForOne",
    "RestartChild",
    "RoundRobin",
    "Routing",
    "StartChild",
    "StopChild",
    "Strategy",
    "Supervisor",
    "ThreadHeld",
    "TooManyChildren",
    "TooManyRestarts",
    "TryAgainLater",
    "Watchdog",
    "WhichChildren",
    "WhichProcess",
    "WorkerExited",
    "WorkerLost",
    "WorkerProcesses",
    "child",
]
