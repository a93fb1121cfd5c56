"""Everything that the actors of the code index say to each other."""

from actors import ActorRef, Ledger, Request, message
from examples.code_index.facts import FileFacts, Location, Problem, Snapshot, Totals


@message(name="index.FindFiles")
class FindFiles:
    """To the crawler: find up to `count` more files, and tell `reply_to`."""

    count: int
    reply_to: ActorRef


@message(name="index.FilesFound")
class FilesFound:
    """From the crawler: files by their paths below the root; `more` is False at the end."""

    paths: tuple[str, ...]
    more: bool


@message(name="index.Ready")
class Ready:
    """From an indexer to the queue: I am done with what I had, if anything; give me a file."""

    indexer: ActorRef


@message(name="index.IndexFile")
class IndexFile:
    """To an indexer: index this file. `attempt` counts from 1."""

    path: str
    attempt: int


@message(name="index.Indexed")
class Indexed:
    """To the aggregator: what was found in one file."""

    facts: FileFacts


@message(name="index.NotIndexed")
class NotIndexed:
    """To the aggregator: a file or folder that could not be read, and why."""

    problem: Problem


@message(name="index.Discovered")
class Discovered:
    """To the aggregator: there are `total` files so far; `complete` means that this is all."""

    total: int
    complete: bool


@message(name="index.Progress")
class Progress:
    """From the aggregator: how many files are done, of how many that have been found so far."""

    done: int
    total: int
    complete: bool


@message(name="index.Follow")
class Follow:
    """To the aggregator: tell your Progress to this one too."""

    follower: ActorRef


@message(name="index.Redraw")
class Redraw:
    """To the reporter, from its own timer."""


@message(name="index.Thaw")
class Thaw:
    """To the saboteur, from its own timer: the process that was frozen first may go on."""


@message(name="index.Complete")
class Complete:
    """To the job: every file is in the index; this is the index in numbers."""

    totals: Totals


@message(name="index.Finished")
class Finished(Request[Totals]):
    """Wait until every file is in the index; the reply is the index in numbers."""


@message(name="index.WhereDefined")
class WhereDefined(Request[tuple[Location, ...]]):
    """Where is a function or a class of this name defined?"""

    name: str


@message(name="index.WhoImports")
class WhoImports(Request[tuple[str, ...]]):
    """Which files import this module?"""

    module: str


@message(name="index.MostUsed")
class MostUsed(Request[tuple[tuple[str, int], ...]]):
    """Which names are read most, and how often?"""

    count: int


@message(name="index.TakeSnapshot")
class TakeSnapshot(Request[Snapshot]):
    """The whole index in canonical order, to compare it with another one."""


@message(name="index.Redelivered")
class Redelivered(Request[int]):
    """How many times was a file given out again, since whoever held it had failed or was lost?"""


@message(name="index.TakeLedgers")
class TakeLedgers(Request[Ledger | None]):
    """How did the messages in the worker processes end so far? None: there are none."""


@message(name="index.TakeLedger")
class TakeLedger(Request[Ledger]):
    """To an indexer: the same, of its own process."""
