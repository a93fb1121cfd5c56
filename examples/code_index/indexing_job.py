"""The actor at the top: it starts the others, and decides what a failure means."""

from rich.console import Console

from actors import Actor, ActorRef, Directive, Escalate, Failure, Reply, Restart
from examples.code_index.aggregator import Aggregator
from examples.code_index.chaos import Chaos, PlannedCrash
from examples.code_index.crawler import Crawler
from examples.code_index.facts import Totals
from examples.code_index.indexer import Indexer
from examples.code_index.messages import Complete, Finished
from examples.code_index.reporter import Reporter
from examples.code_index.work_queue import WorkQueue


class IndexJob(Actor):
    """Indexes one folder, and then answers questions: see the requests in `messages`."""

    def __init__(self, root: str, workers: int, chaos: Chaos, console: Console) -> None:
        self.root = root
        self.workers = workers
        self.chaos = chaos
        self.console = console
        self.totals: Totals | None = None
        self.waiting_for_the_end: list[Reply] = []

    async def started(self) -> None:
        """Start everybody; whoever is needed by another one comes first, and so stops last."""
        spawn = self.context.spawn
        reporter = spawn(Reporter, self.console, name="reporter")
        self.index = spawn(Aggregator, self.context.ref, reporter, name="index")
        crawler = spawn(Crawler, self.root, self.index, name="crawler")
        queue = spawn(WorkQueue, crawler, name="queue")
        for number in range(1, self.workers + 1):
            spawn(Indexer, self.root, queue, self.index, self.chaos, name=f"indexer-{number}")

    def receive(self, message: object) -> None:
        """Wait for the end here; every other question is one for the index, which replies to it."""
        match message:
            case Finished():
                self.waiting_for_the_end.append(self.context.reply_later())
                self.answer_at_the_end()
            case Complete(totals):
                self.totals = totals
                self.answer_at_the_end()
            case _:
                self.context.forward(self.index)

    def answer_at_the_end(self) -> None:
        """Reply to those who wait for the end, if it is there."""
        if self.totals is not None:
            for reply in self.waiting_for_the_end:
                reply.reply(self.totals)
            self.waiting_for_the_end.clear()

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        """Restart after a planned crash. Anything else is a defect, and ends the job."""
        if isinstance(failure.exception, PlannedCrash):
            return Restart()
        return Escalate()
