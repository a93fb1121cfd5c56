"""The bank on several processes, each a branch with a journal on disk, while they are killed.

    trouper run examples.bank --nodes 3 --kill 20 --seed 7

The actors::

    bank                         this process: the customers are here, and it is not killed
    |-- workers                  WorkerProcesses: starts the processes anew that are killed
    `-- headquarters             a Supervisor: opens a branch on each of them, again when it is lost
    bank-branch-1                a process, and so on
    `-- spawned/bank-branch-1    Branch: accounts and a teller, and a journal that outlives them
        |-- account-1 ...
        `-- teller

A branch that is opened again has another address, so accounts and tellers are found by the name of
a service. Only the process of a branch writes its journal, and the next one starts when the last
one has ended: no two ever write at once.
"""

from collections.abc import Callable
from pathlib import Path

from tenacity import wait_exponential

from actors import ActorRef, Env
from examples.bank.account import Account
from examples.bank.branch import Branch, BranchTeller
from examples.bank.chaos import Chaos
from examples.bank.journal import Journal
from supervision import ChildSpec, OneForOne, Supervisor

PAUSE = 0.005
"""Seconds that a step takes at most."""


def service(name: str) -> str:
    """Where `branch/account` is found, or `branch/teller`."""
    return f"service://bank.{name.replace('/', '.')}"


class ListedAccount(Account):
    """An account that is found by its name from every node."""

    async def started(self) -> None:
        """Be found."""
        system = self.context.system
        system.register(service(f"{system.name}/{self.name}"), self.context.ref)


class ListedTeller(BranchTeller):
    """A teller that is found by its name, and finds accounts by theirs."""

    async def started(self) -> None:
        """Be found, and carry on."""
        system = self.context.system
        system.register(service(f"{system.name}/teller"), self.context.ref)
        await super().started()

    def account(self, name: str) -> ActorRef:
        """One instance of that service: the account."""
        return self.context.system.at(service(name))


class ProcessBranch(Branch):
    """The branch of one process. Its arguments can be sent to there."""

    # Another process is back within a second: not much is gained by waiting longer than that.
    strategy = OneForOne(max_restarts=None, backoff=wait_exponential(0.02, max=0.2))
    account_class = ListedAccount
    teller_class = ListedTeller

    def __init__(self, folder: str, accounts: int, opening: int, rate: float, seed: int) -> None:
        journal = Journal(Path(folder) / f"{self.context.system.name}.journal")
        journal.repair()
        super().__init__(journal, accounts, opening, Chaos(Env(seed), rate, PAUSE))


class Headquarters(Supervisor):
    """A branch on each node, opened again whenever it is lost, as soon as its node is back."""

    strategy = OneForOne(max_restarts=None)

    def __init__(self, nodes: list[str], recipe: Callable[[str], ChildSpec]) -> None:
        self.nodes = nodes
        self.recipe = recipe

    def children(self) -> list[ChildSpec]:
        """One for each node."""
        return [self.recipe(node) for node in self.nodes]
