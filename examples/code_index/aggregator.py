"""The actor that owns the index."""

from actors import Actor, ActorRef, Mailbox
from examples.code_index.index import Index
from examples.code_index.messages import (
    Complete,
    Discovered,
    Follow,
    Indexed,
    MostUsed,
    NotIndexed,
    Progress,
    TakeSnapshot,
    WhereDefined,
    WhoImports,
)


class Aggregator(Actor):
    """Merges what the indexers find, and answers questions about it."""

    # Small, because facts are large: an indexer that is ahead waits in `send`.
    mailbox = Mailbox(capacity=64)

    def __init__(self, job: ActorRef) -> None:
        self.job = job
        self.followers: list[ActorRef] = []
        self.index = Index()
        self.total = 0
        self.walk_is_complete = False

    async def receive(self, message: object) -> object:
        """News changes the index; a question is answered from it."""
        match message:
            case Indexed(findings) | NotIndexed(findings):
                if self.index.add(findings):
                    await self.publish()
            case Discovered(total, complete):
                self.total, self.walk_is_complete = total, complete
                await self.publish()
            case Follow(follower):
                self.followers.append(follower)
            case WhereDefined(name):
                return self.index.where_defined(name)
            case WhoImports(module):
                return self.index.who_imports(module)
            case MostUsed(count):
                return self.index.most_used(count)
            case TakeSnapshot():
                return self.index.snapshot()
        return None

    async def publish(self) -> None:
        """Tell the followers how far we are, and the job when every file has arrived."""
        for follower in self.followers:
            await follower.send(Progress(len(self.index), self.total, self.walk_is_complete))
        if self.walk_is_complete and len(self.index) == self.total:
            self.job.tell(Complete(self.index.totals()))
