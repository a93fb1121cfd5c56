"""The bank with branches on several nodes, on a network with faults.

    trouper simulate examples.bank
    trouper simulate examples.bank --seeds 200
    trouper simulate examples.bank --nodes 5 --seed 7 --json

Each node is a branch: some accounts, a teller, and a journal on the node's disk. A transfer goes
from any account to any other one, through the teller of the branch where it was ordered. Its number
makes it safe to order it again, so a customer insists; and whatever crashes, is lost or comes late,
in the end there must be as many cents as there were.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import trio

from actors import ActorError, ActorRef, ActorSystem, Env, Request
from examples.bank.bank import account_names
from examples.bank.branch import Branch
from examples.bank.chaos import Chaos
from examples.bank.journal import Entry, Journal
from examples.bank.messages import Balance, Transfer
from transports import NotEncodable
from transports.testing import Application, Cluster, SimulatedNode

OPENING = 1_000
ACCOUNTS = 2
CUSTOMERS = 4
TRANSFERS = 6

T = TypeVar("T")


class DiskJournal(Journal):
    """A journal on the disk of a simulated node: it is there again when the node is."""

    def __init__(self, disk: dict[str, Any]) -> None:
        self.entries: list[Entry] = disk.setdefault("journal", [])

    def write(self, entry: Entry) -> None:
        """Add an entry."""
        self.entries.append(entry)

    def read(self, who: str) -> Iterator[Entry]:
        """The entries of one actor, in the order written."""
        return iter([entry for entry in self.entries if entry.who == who])


class BankSimulation(Application):
    """Customers order transfers while everything goes wrong; then the money is counted."""

    nodes = 3

    def __init__(self) -> None:
        self.ordered: dict[int, tuple[str, Transfer]] = {}
        self.done: dict[int, bool] = {}
        self.balances: dict[str, int] = {}

    async def start(self, node: SimulatedNode) -> None:
        """Open the branch of one node."""
        journal = DiskJournal(node.disk)
        chaos = Chaos(Env(0))
        await node.system.start(Branch, journal, ACCOUNTS, OPENING, chaos, name="bank")

    async def work(self, cluster: Cluster) -> None:
        """Each customer orders transfers, one after the other, and tries each one a few times."""
        accounts = [f"{node}/{name}" for node in cluster.names for name in account_names(ACCOUNTS)]

        async def customer(number: int) -> None:
            chance = cluster.random("customer", number)
            for each in range(TRANSFERS):
                await trio.sleep(chance.uniform(0, 4))
                source, target = chance.sample(accounts, 2)
                order = Transfer(number * 1000 + each, source, target, chance.randint(1, OPENING))
                branch = chance.choice(cluster.names)
                self.ordered[order.number] = (branch, order)
                for _ in range(3):
                    try:
                        await self.order(cluster.client, order.number, timeout=3)
                        break
                    except ActorError as error:
                        cluster.sometimes(f"an order got {type(error).__name__}")
                        await trio.sleep(chance.uniform(0, 1))

        async with trio.open_nursery() as nursery:
            for number in range(1, CUSTOMERS + 1):
                nursery.start_soon(customer, number)

    async def order(self, client: ActorSystem, number: int, timeout: float) -> None:
        """Order a transfer, again if need be: it has a number, and is made once."""
        branch, order = self.ordered[number]
        teller = client.at(f"actor://{branch}/bank/teller")
        moved = await teller.ask(order, timeout=timeout)
        assert self.done.setdefault(number, moved) == moved, f"transfer {number}: {moved} now"

    async def recover(self, cluster: Cluster) -> None:
        """Every transfer that was ordered can be completed; then every account is asked."""
        for number in self.ordered:
            await insist(lambda: self.order(cluster.client, number, timeout=20))  # noqa: B023
        for node in cluster.names:
            for name in account_names(ACCOUNTS):
                ref = cluster.client.at(f"actor://{node}/bank/{name}")
                self.balances[f"{node}/{name}"] = await insist_on(ref, Balance())

    def check(self, cluster: Cluster) -> None:
        """No cent is lost, none is made, and each balance is what the transfers say."""
        expected = dict.fromkeys(self.balances, OPENING)
        for number, (_, order) in self.ordered.items():
            if self.done[number]:
                expected[order.source] -= order.cents
                expected[order.target] += order.cents
        assert self.balances == expected, f"{self.balances} is not {expected}"
        assert sum(self.balances.values()) == OPENING * ACCOUNTS * len(cluster.names)


async def insist_on(ref: ActorRef, request: Request[T]) -> T:
    """Ask until there is a reply."""
    while True:
        try:
            return await ref.ask(request, timeout=20)
        except NotEncodable:
            raise  # no repetition helps
        except ActorError:
            await trio.sleep(0.2)


async def insist(order: Any) -> None:
    """Do it until it succeeds."""
    while True:
        try:
            await order()
        except NotEncodable:
            raise  # no repetition helps
        except ActorError:
            await trio.sleep(0.2)
        else:
            return
