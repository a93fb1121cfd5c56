"""The actor at the top: it starts the others; a failure that they do not survive is its own."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import attrs
from rich.console import Console

from actors import Actor, ActorError, Ledger, Reply
from examples.code_index.aggregator import Aggregator
from examples.code_index.chaos import Chaos
from examples.code_index.crawler import Crawler
from examples.code_index.facts import Totals
from examples.code_index.indexer import Indexer
from examples.code_index.indexers import Indexers
from examples.code_index.messages import (
    Complete,
    Finished,
    Follow,
    Redelivered,
    TakeLedger,
    TakeLedgers,
)
from examples.code_index.options import Options
from examples.code_index.paths import portable
from examples.code_index.reporter import Reporter
from examples.code_index.saboteur import Plan, Saboteur
from examples.code_index.work_queue import WorkQueue
from supervision import OneForOne, WhichChildren, WorkerProcesses


class IndexJob(Actor):
    """Indexes one folder, and then answers questions: see the requests in `messages`."""

    def __init__(self, options: Options, console: Console) -> None:
        self.options = options
        self.console = console
        self.totals: Totals | None = None
        self.waiting_for_the_end: list[Reply] = []

    async def started(self) -> None:
        """Start everybody; whoever is needed by another one comes first, and so stops last."""
        options, spawn = self.options, self.context.spawn
        reporter = spawn(Reporter, self.console, name="reporter")
        self.index = spawn(Aggregator, self.context.ref, name="index")
        self.index.tell(Follow(reporter))
        crawler = spawn(Crawler, options.root, self.index, name="crawler")
        self.queue = spawn(WorkQueue, crawler, name="queue")
        nodes = await self.start_workers() if options.workers else []
        recipe = partial(Indexers, options.indexers, nodes)
        chaos = Chaos(options.chaos, self.context.system.env.seed)
        self.indexers = await self.context.start(
            recipe, portable(options.root), self.queue, self.index, chaos, name="indexers"
        )
        if options.kill or options.freeze:
            plan = Plan(options.kill, options.freeze, options.frozen_for)
            saboteur = spawn(Saboteur, self.workers, plan, name="saboteur")
            self.index.tell(Follow(saboteur))

    async def start_workers(self) -> Sequence[str]:
        """Start the worker processes, and return the names of their nodes."""
        options = self.options
        # A file that ends each process that parses it must not do so for ever.
        strategy = OneForOne(max_restarts=None if options.kill or options.freeze else 5)
        recipe = partial(WorkerProcesses, options.workers, actors=[Indexer], strategy=strategy)
        self.workers = await self.context.start(recipe, name="workers")
        name = self.context.system.name
        return [f"{name}-worker-{number}" for number in range(1, options.workers + 1)]

    async def receive(self, message: object) -> object:
        """Wait for the end here; every other question is one for those who know."""
        match message:
            case Finished():
                self.waiting_for_the_end.append(self.context.reply_later())
                self.answer_at_the_end()
            case Complete(totals):
                self.totals = totals
                self.answer_at_the_end()
            case TakeLedgers():
                return await self.ledger_of_workers()
            case Redelivered():
                self.context.forward(self.queue)
            case _:
                self.context.forward(self.index)
        return None

    def answer_at_the_end(self) -> None:
        """Reply to those who wait for the end, if it is there."""
        if self.totals is not None:
            for reply in self.waiting_for_the_end:
                reply.reply(self.totals)
            self.waiting_for_the_end.clear()

    async def ledger_of_workers(self) -> Ledger | None:
        """The sum of the ledgers of the worker processes that are there now."""
        indexers = await self.indexers.ask(WhichChildren())
        # One of each process: all of them know the same.
        refs = {each.ref.address.node: each.ref for each in indexers if each.ref is not None}
        refs.pop(self.context.system.name, None)
        total = None
        for ref in refs.values():
            with suppress(ActorError):  # Its process may have been killed just now.
                ledger = attrs.astuple(await ref.ask(TakeLedger(), timeout=1))
                total = tuple(map(sum, zip(ledger, total, strict=True))) if total else ledger
        return Ledger(*total) if total else None
