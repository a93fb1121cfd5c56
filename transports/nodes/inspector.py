"""What a node says of itself: messages, so that other nodes can be asked for it too."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Final

from actors import Actor, ActorSystem, Mailbox, Request, message
from actors.observation import Observation
from transports.nodes.node import Node

if TYPE_CHECKING:
    from actors.observation import Observed

MOST: Final = 10_000
"""Actors in one report."""

SERVICE: Final = "service://trouper.inspector"
"""The inspectors of all nodes that have one: nodes tell one another of their services."""


@message(name="trouper.PeerReport")
class PeerReport:
    """A node that another one is connected with, or was: its name, and the state of its session.

    (Or, if it has fenced this node: that, and what to do about it.)
    """

    name: str
    state: str


@message(name="trouper.NodeReport")
class NodeReport:
    """A node: what it is called, its process, and what became of its messages so far."""

    node: str
    process: int
    address: str | None
    incarnation: int | None
    actors: int
    ready: bool
    sent: int
    handled: int
    failed: int
    dead: int
    queued: int
    restarts: int
    missing: int
    peers: tuple[PeerReport, ...]


@message(name="trouper.ActorReport")
class ActorReport:
    """An actor; see `actors.observation.Observed`."""

    address: str
    kind: str
    state: str
    incarnation: int
    depth: int
    capacity: int | None
    waiting: int
    handling: bool
    handled: int
    rate: float | None
    age: float | None
    at_least: bool


@message(name="trouper.Report")
class Report:
    """A node and its actors, parents before their children. left_off: how many are not in it."""

    node: NodeReport
    actors: tuple[ActorReport, ...]
    left_off: int


@message(name="trouper.Inspect")
class Inspect(Request[Report]):
    """Ask for a report of at most `most` actors.

    observe: seconds to look at them before, if nobody does yet; 2 at the most.
    """

    observe: float
    most: int


class Inspector(Actor):
    """Answers Inspect, for the control servers of peers. It never fails, whatever it is told."""

    mailbox = Mailbox(capacity=100, overflow="drop_newest")

    def __init__(self, observation: Observation) -> None:
        self._observation = observation

    async def receive(self, request: object) -> Report | None:
        if not isinstance(request, Inspect):
            return None
        seconds = request.observe if 0 <= request.observe <= 2 else 2.0
        most = min(max(request.most, 0), MOST)
        observed = await self._observation.look(seconds)
        actors = tuple(report_actor(each) for each in islice(observed, most))
        node = report_node(self.context.system, ready=self._observation.ready)
        return Report(node, actors, max(0, node.actors - len(actors)))


def inspected(system: ActorSystem) -> Observation:
    """Let peers see this system: spawn an inspector. The observation still has to be `run`."""
    observation = Observation(system)
    system.register(SERVICE, system.spawn(Inspector, observation))
    return observation


def report_node(system: ActorSystem, *, ready: bool) -> NodeReport:
    """What a system says of itself now."""
    ledger = system.ledger
    transport = system._transport
    links = transport.links() if isinstance(transport, Node) else ()
    return NodeReport(
        system.name,
        os.getpid(),
        address_of(system),
        getattr(transport, "incarnation", None),
        sum(1 for _ in system._cells()),
        ready,
        ledger.sent,
        ledger.handled,
        ledger.failed,
        ledger.dead,
        ledger.queued,
        ledger.restarts,
        ledger.missing,
        tuple(PeerReport(link.peer, link.state()) for link in links),
    )


def address_of(system: ActorSystem) -> str | None:
    """Where other nodes call this one; None: nowhere."""
    address: str = getattr(system._transport, "address", "")
    return address if "@" in address else None


def report_actor(observed: Observed) -> ActorReport:
    """The same as a message."""
    return ActorReport(
        observed.address,
        observed.kind,
        observed.state,
        observed.incarnation,
        observed.depth,
        observed.capacity,
        observed.waiting,
        observed.handling,
        observed.handled,
        observed.rate,
        observed.age,
        observed.at_least,
    )
