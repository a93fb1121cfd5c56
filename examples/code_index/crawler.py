"""The actor that walks the folder."""

from itertools import islice

from actors import Actor, ActorRef
from examples.code_index.facts import Problem
from examples.code_index.messages import Discovered, FilesFound, FindFiles, NotIndexed
from examples.code_index.walking import find_files


class Crawler(Actor):
    """Walks the folder step by step, never further than it is asked to."""

    def __init__(self, root: str, index: ActorRef) -> None:
        self.walk = find_files(root)
        self.index = index
        self.total = 0

    def receive(self, message: FindFiles) -> None:
        """Take the next steps of the walk; say what was found, and how many there are by now."""
        found = list(islice(self.walk, message.count))
        more = len(found) == message.count
        problems = [each for each in found if isinstance(each, Problem)]
        paths = tuple(each for each in found if isinstance(each, str))
        self.total += len(found)
        for problem in problems:
            self.index.tell(NotIndexed(problem))
        self.index.tell(Discovered(self.total, complete=not more))
        message.reply_to.tell(FilesFound(paths, more))
