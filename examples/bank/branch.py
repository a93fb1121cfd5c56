"""A bank with branches: each node has some accounts, a teller, and a journal of its own."""

from tenacity import wait_exponential

from actors import ActorRef
from examples.bank.bank import Bank
from examples.bank.teller import Teller
from supervision import OneForOne


class BranchTeller(Teller):
    """Knows accounts of other branches too, by `branch/account`; a branch is called as its node."""

    def account(self, name: str) -> ActorRef:
        """The ref of an account, wherever it is."""
        branch, _, account = name.partition("/")
        return self.context.system.at(f"actor://{branch}/bank/{account}")


class Branch(Bank):
    """The bank of one node. Whoever fails waits a little before it tries again."""

    strategy = OneForOne(max_restarts=None, backoff=wait_exponential(0.1, max=2))
    teller_class = BranchTeller
