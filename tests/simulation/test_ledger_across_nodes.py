"""What one node counts as delivered to another one is what that one has received."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from actors import Actor, ActorError, message
from transports.encoding import envelope
from transports.nodes.incoming import Incoming
from transports.testing import (
    Application,
    Cluster,
    Faults,
    SimulatedNode,
    make_simulation,
    simulate,
)
from transports.wire.inbound import Delivery

deliver = Incoming.deliver


@message(name="ledgers.Coin")
class Coin:
    number: int


class Purse(Actor):
    def receive(self, _: Any) -> None: ...


class Purses(Application):
    """Coins are told to every node; whether they arrive is nobody's business but the ledger's."""

    async def start(self, node: SimulatedNode) -> None:
        node.system.spawn(Purse, name="purse")

    async def work(self, cluster: Cluster) -> None:
        for number in range(10):
            for name in cluster.names:
                try:
                    await cluster.client.at(f"actor://{name}/purse").send(Coin(number))
                except ActorError:
                    continue


def lose_every_fifth(self: Incoming, delivery: Delivery) -> None:
    for sequence, payload in enumerate(delivery.payloads(), delivery.sequence):
        if isinstance(envelope.decode(payload), envelope.Tell) and sequence % 5 == 0:
            self.accepted(sequence)
        else:
            deliver(self, Delivery(sequence, payload, delivery.charged))


def test_a_message_that_is_acknowledged_and_not_received_is_found() -> None:
    with mock.patch.object(Incoming, "deliver", lose_every_fifth):
        outcome = make_simulation(Purses, seed=1, faults=Faults.none()).run()
    assert outcome.oracle == "ledger"
    # Ten coins, and an echo.
    assert "counts 11 messages as delivered to n1, which has received 9" in outcome.verdict


@pytest.mark.parametrize("seed", range(12))
def test_whatever_befalls_nodes_the_counts_of_those_that_lived_agree(seed: int) -> None:
    faults = Faults(part=0.5, crash=0.3, pause=0.3, fail=0.0, swarm=False)
    assert simulate(Purses, seed=seed, faults=faults).error is None
