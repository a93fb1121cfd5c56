"""The actor that does the work, one file at a time."""

from actors import Actor, ActorRef
from examples.code_index.chaos import Chaos
from examples.code_index.facts import Problem
from examples.code_index.messages import Indexed, IndexFile, NotIndexed, Ready
from examples.code_index.reading import read_facts


class Indexer(Actor):
    """Asks the queue for a file, parses it, reports what is in it, and asks for the next one.

    It keeps nothing from one file to the next, so a new incarnation goes on where the old one
    failed: `started` asks for a file, as the first incarnation did.
    """

    def __init__(self, root: str, queue: ActorRef, index: ActorRef, chaos: Chaos) -> None:
        self.root = root
        self.queue = queue
        self.index = index
        self.chaos = chaos

    async def started(self) -> None:
        """Ask for the first file."""
        self.queue.tell(Ready(self.context.ref))

    async def receive(self, message: IndexFile) -> None:
        """Index one file."""
        env = self.context.system.env
        self.chaos.strike(env, "before reading", message.path, message.attempt)
        findings = read_facts(self.root, message.path)
        self.chaos.strike(env, "before reporting", message.path, message.attempt)
        news = NotIndexed(findings) if isinstance(findings, Problem) else Indexed(findings)
        await self.index.send(news)  # waits when the aggregator is behind
        self.chaos.strike(env, "after reporting", message.path, message.attempt)
        self.queue.tell(Ready(self.context.ref))
