"""Bugs of applications: they live on a runtime that does what it promises."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio

from examples.bank.account import Account
from examples.bank.journal import Entry
from examples.bank.messages import Balance, Deposit, Withdraw
from examples.bank.simulation import BankSimulation, DiskJournal
from tests.simulation.apps_of_actors import Buy, Shop, Shops
from tests.simulation.planting import Change, bug

make_account = Account.__init__


@bug(BankSimulation)
def journal_forgotten_at_a_crash() -> Iterable[Change]:
    """The journal is in memory, and not on the disk."""

    def forget(self: DiskJournal, disk: dict[str, Any]) -> None:
        self.entries = []

    yield DiskJournal, "__init__", forget


@bug(BankSimulation)
def deduplication_forgotten_at_a_crash() -> Iterable[Change]:
    """An account reads its balance from the journal, and not which transfers it has had."""

    def forget(self: Account, *args: Any) -> None:
        make_account(self, *args)
        self.done = {}

    yield Account, "__init__", forget


@bug(BankSimulation)
def journal_written_after_the_answer() -> Iterable[Change]:
    """An account answers, and writes into its journal a moment later."""
    receive = Account.receive

    def book(self: Account, what: str, transfer: int, cents: int) -> None:
        self.context.after(0.05, Entry(self.name, what, transfer, cents))
        self.balance += cents
        self.done[transfer] = what != "refused"

    async def write(self: Account, message: Any) -> Any:
        if isinstance(message, Entry):
            self.journal.write(message)
            return None
        return await receive(self, message)

    yield Account, "book", book
    yield Account, "receive", write


@bug(BankSimulation)
def transfer_made_twice() -> Iterable[Change]:
    """An account carries out each step that it is sent, whether it has done so before or not."""

    async def receive(self: Account, message: Withdraw | Deposit | Balance) -> int | bool:
        if isinstance(message, Balance):
            return self.balance
        if isinstance(message, Deposit):
            self.book("deposited", message.transfer, message.cents)
        elif self.balance >= message.cents:
            self.book("withdrawn", message.transfer, -message.cents)
        else:
            self.book("refused", message.transfer, 0)
        return self.done[message.transfer]

    yield Account, "receive", receive


async def read_then_write(self: Shop, message: Buy) -> None:
    """Another sale may come in between."""
    store = self.context.system.at("actor://n1/guard/store")
    stock = await store.ask("how many?")
    await trio.lowlevel.checkpoint()
    store.tell(stock - 1)


@bug(Shops, scheduler="random-walk")
def lost_update() -> Iterable[Change]:
    """Two actors read, compute and write back; each is done long before the other one begins,
    unless it is kept from its turns."""
    yield Shop, "receive", read_then_write


@bug(Shops, scheduler="pct")
def lost_update_by_one_that_is_late() -> Iterable[Change]:
    """The same, where one actor is late for a long time, since the others have priority."""
    yield Shop, "receive", read_then_write
