"""Simulated clusters: `simulate` runs an application on nodes and a network that faults befall.

Reading order: `simulate` (what is run, and how often), `application` (what it is given), `run` (its
phases), `oracles` (what must hold in the end) and `outcome` (its verdict), `cluster` (nodes),
`network` (frames), `faults` and `plan` (what goes wrong), `tasks` and `schedulers` (who runs next),
`observe` and `observe_nodes` (what is judged meanwhile), `trace`, `shrink`, `diagram`.
"""

from transports.testing.application import Application, Cluster
from transports.testing.cluster import SimulatedNode
from transports.testing.faults import Fault, Faults
from transports.testing.observe import SimulatedFault
from transports.testing.outcome import Outcome, Violation
from transports.testing.run import Times
from transports.testing.simulate import Simulation, SimulationFailed, make_simulation, simulate

__all__ = [
    "Application",
    "Cluster",
    "Fault",
    "Faults",
    "Outcome",
    "SimulatedFault",
    "SimulatedNode",
    "Simulation",
    "SimulationFailed",
    "Times",
    "Violation",
    "make_simulation",
    "simulate",
]
