"""The actor between the crawler and the indexers: bounded, and driven by demand."""

from collections import deque

from actors import Actor, ActorRef, Terminated
from examples.code_index.messages import FilesFound, FindFiles, IndexFile, Ready, Redelivered


class WorkQueue(Actor):
    """Gives each file to one indexer, and to another one when the first has died with it.

    Files wait here only up to `capacity`; the crawler is asked for more when half of that is free.
    """

    def __init__(self, crawler: ActorRef, capacity: int = 256) -> None:
        self.crawler = crawler
        self.capacity = capacity
        self.waiting: deque[IndexFile] = deque()
        self.idle: deque[ActorRef] = deque()
        self.held: dict[ActorRef, IndexFile] = {}
        self.crawler_has_more = True
        self.crawler_is_asked = False
        self.redelivered = 0

    async def started(self) -> None:
        """Let the crawler walk, while the indexers have yet to start."""
        self.ask_for_more()

    def receive(self, message: Ready | FilesFound | Terminated | Redelivered) -> int | None:
        """Note what has changed, then hand out what can be handed out."""
        match message:
            case Ready(indexer):
                self.held.pop(indexer, None)
                self.idle.append(indexer)
                # A watch ends with the incarnation that it was set on; Ready may be of a new one.
                self.context.watch(indexer)
            case Terminated(indexer):
                self.forget(indexer)
            case Redelivered():
                return self.redelivered
            case FilesFound(paths, more):
                self.waiting.extend(IndexFile(path, attempt=1) for path in paths)
                self.crawler_is_asked = False
                self.crawler_has_more = more
        self.hand_out()
        self.ask_for_more()
        return None

    def forget(self, indexer: ActorRef) -> None:
        """The indexer has failed, or its node is lost: what it held is the next to be tried again.

        A lost one may still be at it. The aggregator will not count the file twice.
        """
        if indexer in self.idle:
            self.idle.remove(indexer)
        lost = self.held.pop(indexer, None)
        if lost is not None:
            self.redelivered += 1
            self.waiting.appendleft(IndexFile(lost.path, lost.attempt + 1))

    def hand_out(self) -> None:
        """Give files to idle indexers, one each."""
        while self.waiting and self.idle:
            indexer = self.idle.popleft()
            self.held[indexer] = self.waiting.popleft()
            indexer.tell(self.held[indexer])

    def ask_for_more(self) -> None:
        """Ask the crawler for as many files as there is room for, once half of the room is free."""
        room = self.capacity - len(self.waiting)
        if self.crawler_has_more and not self.crawler_is_asked and room * 2 >= self.capacity:
            self.crawler_is_asked = True
            self.crawler.tell(FindFiles(room, reply_to=self.context.ref))
