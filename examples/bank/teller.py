"""The actor that carries money from one account to another."""

from actors import Actor, ActorRef
from examples.bank.chaos import Chaos
from examples.bank.journal import Entry, Journal
from examples.bank.messages import CarryOn, Deposit, Transfer, Withdraw


class Teller(Actor):
    """Withdraws, then deposits. What it begins it ends, if need be in its next incarnation."""

    redeliver = 1_000  # a CarryOn must not get lost

    def __init__(self, journal: Journal, chaos: Chaos) -> None:
        self.journal = journal
        self.chaos = chaos
        self.begun: dict[int, Transfer] = {}
        self.ended: dict[int, bool] = {}
        for entry in journal.read("teller"):
            if entry.what == "begun":
                self.begun[entry.transfer] = Transfer(
                    entry.transfer, entry.source, entry.target, entry.cents
                )
            else:
                self.begun.pop(entry.transfer)
                self.ended[entry.transfer] = entry.what == "moved"

    async def started(self) -> None:
        """Carry on what was begun, before anything new."""
        for transfer in self.begun.values():
            self.context.ref.tell(CarryOn(transfer))

    async def receive(self, message: Transfer | CarryOn) -> bool:
        """Carry out a transfer, unless it is done already."""
        transfer = message.transfer if isinstance(message, CarryOn) else message
        if transfer.number not in self.ended:
            await self.carry_out(transfer)
        return self.ended[transfer.number]

    async def carry_out(self, transfer: Transfer) -> None:
        """Both steps; either may be repeated, for the accounts do each one once."""
        if transfer.number not in self.begun:
            self.write(transfer, "begun")
            self.begun[transfer.number] = transfer
        await self.chaos.strike(self)
        moved = await self.account(transfer.source).ask(
            Withdraw(transfer.number, transfer.cents), timeout=None
        )
        await self.chaos.strike(self)
        if moved:
            deposit = Deposit(transfer.number, transfer.cents)
            await self.account(transfer.target).ask(deposit, timeout=None)
        await self.chaos.strike(self)
        self.write(transfer, "moved" if moved else "refused")
        del self.begun[transfer.number]
        self.ended[transfer.number] = moved

    def account(self, name: str) -> ActorRef:
        """The ref of an account: a sibling of this actor."""
        return self.context.system.at(f"actor://{self.context.system.name}/bank/{name}")

    def write(self, transfer: Transfer, what: str) -> None:
        """Add a line to the journal."""
        self.journal.write(
            Entry("teller", what, transfer.number, transfer.cents, transfer.source, transfer.target)
        )
