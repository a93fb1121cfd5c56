"""The supervisor of the bank."""

from examples.bank.account import Account
from examples.bank.chaos import Chaos
from examples.bank.journal import Journal
from examples.bank.teller import Teller
from supervision import ChildSpec, OneForOne, Supervisor, child


class Bank(Supervisor):
    """Accounts and a teller; whoever fails is restarted, and reads its journal."""

    strategy = OneForOne(max_restarts=None)
    account_class = Account
    teller_class = Teller

    def __init__(self, journal: Journal, accounts: int, opening: int, chaos: Chaos) -> None:
        self.journal = journal
        self.accounts = accounts
        self.opening = opening
        self.chaos = chaos

    def children(self) -> list[ChildSpec]:
        """The accounts first: the teller needs them."""
        return [
            *(
                child(self.account_class, self.journal, name, self.opening, self.chaos, name=name)
                for name in account_names(self.accounts)
            ),
            child(self.teller_class, self.journal, self.chaos, name="teller"),
        ]


def account_names(accounts: int) -> list[str]:
    """account-1, account-2, ..."""
    return [f"account-{number}" for number in range(1, accounts + 1)]
