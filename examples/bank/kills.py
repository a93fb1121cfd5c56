"""The customers of a bank on several processes, and who kills these meanwhile."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import trio

from actors import ActorError, ActorSystem, Env, Request
from examples.bank.audit import Audit, audit
from examples.bank.bank import account_names
from examples.bank.messages import Balance, Transfer
from examples.bank.processes import Headquarters, ProcessBranch, service
from supervision import ChildSpec, OneForOne, WhichProcess, WorkerProcesses, child
from transports import Unix

AGAIN_AFTER = 0.05
"""Seconds until a customer asks again."""

KILL_WITHIN = 0.02
"""Seconds from a transfer until the kill that it calls for: others are under way by then."""

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Plan:
    """How much is to be done, and how much is to go wrong.

    nodes: processes. accounts: of each. kills: SIGKILLs. rate: of crashes of single actors.
    """

    nodes: int = 3
    accounts: int = 10
    opening: int = 10_000
    transfers: int = 500
    customers: int = 8
    kills: int = 20
    rate: float = 0.0

    @property
    def branches(self) -> list[str]:
        """The names of the nodes."""
        return [f"bank-branch-{number}" for number in range(1, self.nodes + 1)]

    @property
    def names(self) -> list[str]:
        """All accounts, as branch/account."""
        return [f"{each}/{name}" for each in self.branches for name in account_names(self.accounts)]


@attrs.frozen
class Report:
    """What happened. balances: as the accounts say; audit: as the journals say."""

    orders: dict[int, Transfer]
    outcomes: dict[int, bool]
    asked_again: int
    killed: list[str]
    balances: dict[str, int]
    audit: Audit

    @property
    def problems(self) -> list[str]:
        """What is wrong, in words. There is nothing."""
        wrong = [
            f"{name} says {cents}, and its journal {self.audit.balances[name]}"
            for name, cents in self.balances.items()
            if cents != self.audit.balances[name]
        ]
        return [*self.audit.problems, *wrong]


async def run_processes(
    env: Env, folder: Path, plan: Plan, say: Callable[[str], None] = lambda line: None
) -> Report:
    """Let customers make transfers while processes are killed; then look into the journals.

    folder: for the journals. say: is told of each kill.
    """
    async with ActorSystem("bank", env=env, transport=Unix()) as system:
        workers = partial(
            WorkerProcesses,
            plan.nodes,
            actors=[ProcessBranch],
            name="branch",
            strategy=OneForOne(max_restarts=None),
        )
        await system.start(workers, name="workers")

        def branch(node: str) -> ChildSpec:
            where = (str(folder), plan.accounts, plan.opening, plan.rate, env.seed)
            return child(ProcessBranch, *where, name=node, on=node)

        await system.start(Headquarters, plan.branches, branch, name="headquarters")
        run = Run(system, plan, say)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.kill_processes)
            for number in range(plan.customers):
                nursery.start_soon(run.customer, number)
        balances = {name: await run.insist(service(name), Balance()) for name in plan.names}
    # All processes have ended.
    found = audit(folder, plan.names, plan.opening, run.orders, run.outcomes)
    return Report(run.orders, run.outcomes, run.asked_again, run.killed, balances, found)


class Run:
    """The customers, and who kills processes while they are served."""

    def __init__(self, system: ActorSystem, plan: Plan, say: Callable[[str], None]) -> None:
        self.system = system
        self.plan = plan
        self.say = say
        self.orders: dict[int, Transfer] = {}
        self.outcomes: dict[int, bool] = {}
        self.asked_again = 0
        self.killed: list[str] = []
        self.changed = trio.Event()

    async def customer(self, number: int) -> None:
        """Order transfers, one after the other, each until it is known what became of it."""
        plan = self.plan
        draw = self.system.env.random("customer", number)
        for transfer in range(number, plan.transfers, plan.customers):
            source, target = draw.sample(plan.names, 2)
            order = Transfer(transfer, source, target, draw.randint(1, plan.opening))
            self.orders[transfer] = order
            teller = service(f"{draw.choice(plan.branches)}/teller")
            self.outcomes[transfer] = await self.insist(teller, order)
            changed, self.changed = self.changed, trio.Event()
            changed.set()

    async def insist(self, address: str, request: Request[T]) -> T:
        """Ask until there is a reply: whatever has a number may be asked for twice."""
        while True:
            try:
                return await self.system.at(address).ask(request, timeout=10)
            except ActorError:
                self.asked_again += 1
                await trio.sleep(AGAIN_AFTER)

    async def kill_processes(self) -> None:
        """SIGKILL one process after the other, spread over the transfers."""
        plan, draw = self.plan, self.system.env.random("kills")
        for number in range(plan.kills):
            # The last one while there are transfers left.
            while len(self.outcomes) < plan.transfers * number // plan.kills:
                await self.changed.wait()
            await trio.sleep(draw.uniform(0, KILL_WITHIN))
            branch = draw.choice(plan.branches)
            worker = self.system.at(f"actor://bank/workers/{branch.removeprefix('bank-')}")
            # Of one that is being started again the answer comes when it is there.
            info = await worker.ask(WhichProcess(), timeout=None)
            os.kill(info.pid, signal.SIGKILL)
            self.killed.append(branch)
            self.say(f"kill {number + 1} of {plan.kills}: {branch}, process {info.pid}")
