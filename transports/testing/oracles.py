"""What must hold of every run, once nothing goes wrong any more.

Other oracles speak while it goes on: see `observe` and `observe_nodes`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import trio

from actors import ActorError
from transports.testing.outcome import Violation

if TYPE_CHECKING:
    from transports.nodes.link import Link
    from transports.testing.cluster import SimulatedNode
    from transports.testing.run import Run


async def all_reach_all(run: Run) -> None:
    """Until every node reaches every other one."""
    for node in run.all_nodes():
        for name in run.all_names:
            while True:
                try:
                    ref = node.system.at(f"actor://{name}/simulation-echo")
                    await ref.ask(f"{node.name} to {name}", timeout=5)
                except ActorError:
                    await trio.sleep(0.2)
                else:
                    break


async def all_is_quiet(run: Run) -> None:
    """Until no message is under way.

    Raises:
        Violation: one still is when all have had the time to arrive.
    """

    def is_quiet() -> bool:
        return all(
            (ledger := node.system.ledger).queued == 0 and ledger.in_flight == 0
            for node in run.all_nodes()
        )

    until = run.now() + run.times.recover_within
    while not is_quiet():
        if run.now() > until:
            left = "; ".join(f"{node.name}: {node.system.ledger}" for node in run.all_nodes())
            raise Violation("liveness", f"messages are still under way: {left}")
        await trio.sleep(0.25)


def nothing_is_kept(run: Run) -> None:
    """No node keeps what is over.

    Raises:
        Violation: one does.
    """
    kept = [text for node in run.all_nodes() for text in node.node.left()]
    if kept:
        raise Violation("no leak", "; ".join(kept[:5]))


def compare_ledgers(run: Run) -> None:
    """What a node counts as delivered to another one, that one has received, in one session.

    Raises:
        Violation: it has not.
    """
    nodes = [node for node in run.all_nodes() if node.is_up]
    for one, other in itertools.permutations(nodes, 2):
        ours, theirs = one.node._links.get(other.name), other.node._links.get(one.name)
        if ours is None or theirs is None or not _are_one(ours, one, theirs, other):
            continue
        sent, received = ours.outgoing.delivered, theirs.incoming.received
        if sent != received:
            raise Violation(
                "ledger",
                f"{one.name} counts {sent} messages as delivered to {other.name}, "
                f"which has received {received}",
            )


def settle_accounts(run: Run) -> None:
    """All nodes are left: what the ledgers say, of those that crashed too.

    Raises:
        Violation: a message is missing, or a task is left.
    """
    for system in run.systems:
        ledger = system.ledger
        if ledger.missing:
            raise Violation(
                "ledger", f"{ledger.missing} messages of {system} are missing: {ledger}"
            )
        if any(node.system is system for node in run.all_nodes()):
            if ledger.queued or ledger.in_flight:
                raise Violation("ledger", f"{system} was left with messages: {ledger}")
        else:
            run.unknown += ledger.queued + ledger.in_flight
    left = run.tasks.left()
    if left:
        raise Violation("no leak", f"tasks are left of nodes that were left: {', '.join(left)}")


def _are_one(ours: Link, one: SimulatedNode, theirs: Link, other: SimulatedNode) -> bool:
    """Whether two links are the ends of one session, between the newest incarnations."""
    return all(
        (peer := link.session.peer) is not None
        and (peer.incarnation, peer.session) == (node.incarnation, back.session.number)
        for link, node, back in ((ours, other, theirs), (theirs, one, ours))
    )
