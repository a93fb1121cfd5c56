"""The actor of one account."""

from actors import Actor
from examples.bank.chaos import Chaos
from examples.bank.journal import Entry, Journal
from examples.bank.messages import Balance, Deposit, Withdraw


class Account(Actor):
    """Knows a balance, and which transfers it has had its part in: all of it from the journal."""

    def __init__(self, journal: Journal, name: str, opening: int, chaos: Chaos) -> None:
        self.journal = journal
        self.name = name
        self.chaos = chaos
        self.balance = opening
        self.done: dict[int, bool] = {}
        for entry in journal.read(name):
            self.balance += entry.cents
            self.done[entry.transfer] = entry.what != "refused"

    async def receive(self, message: Withdraw | Deposit | Balance) -> int | bool:
        """Reply with the balance, or carry out a step of a transfer, once."""
        if isinstance(message, Balance):
            return self.balance
        await self.chaos.strike(self)
        if message.transfer not in self.done:
            if isinstance(message, Deposit):
                self.book("deposited", message.transfer, message.cents)
            elif self.balance >= message.cents:
                self.book("withdrawn", message.transfer, -message.cents)
            else:
                self.book("refused", message.transfer, 0)
        await self.chaos.strike(self)
        return self.done[message.transfer]

    def book(self, what: str, transfer: int, cents: int) -> None:
        """Write it down, and only then count it."""
        self.journal.write(Entry(self.name, what, transfer, cents))
        self.balance += cents
        self.done[transfer] = what != "refused"
