"""The actor that does the work, one file at a time."""

from actors import Actor, ActorRef, Ledger
from examples.code_index.chaos import Chaos
from examples.code_index.facts import Problem
from examples.code_index.messages import Indexed, IndexFile, NotIndexed, Ready, TakeLedger
from examples.code_index.paths import native
from examples.code_index.reading import read_facts


class Indexer(Actor):
    """Asks the queue for a file, parses it, reports what is in it, and asks for the next one.

    It keeps nothing from one file to the next, so that a new one goes on where an old one failed:
    `started` asks for a file. It does not know whether it shares a process with the others.
    """

    def __init__(self, root: str, queue: ActorRef, index: ActorRef, chaos: Chaos) -> None:
        self.root = native(root)
        self.queue = queue
        self.index = index
        self.chaos = chaos

    async def started(self) -> None:
        """Ask for the first file."""
        self.queue.tell(Ready(self.context.ref))

    async def receive(self, message: IndexFile | TakeLedger) -> Ledger | None:
        """Index one file; or tell how the messages of this process ended."""
        match message:
            case IndexFile(path, attempt):
                await self.index_file(path, attempt)
            case TakeLedger():
                return self.context.system.ledger
        return None

    async def index_file(self, path: str, attempt: int) -> None:
        """Report what is in the file. `Ready` is the last: until then it is this one's to do."""
        self.chaos.strike("before reading", path, attempt)
        findings = read_facts(self.root, path)
        self.chaos.strike("before reporting", path, attempt)
        news = NotIndexed(findings) if isinstance(findings, Problem) else Indexed(findings)
        await self.index.send(news)  # waits when the aggregator is behind
        self.chaos.strike("after reporting", path, attempt)
        self.queue.tell(Ready(self.context.ref))
