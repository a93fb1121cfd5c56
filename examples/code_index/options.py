"""What is to be indexed, and how."""

import attrs

from transports import Limits


@attrs.frozen
class Options:
    """The options of the command.

    indexers: actors that parse, in each process. workers: processes; 0: all of it in this one.
    chaos: the share of files that crash an indexer. kill, freeze: after so many files each, a
    worker process is; None: never. seed: chooses the crashes and the victims. where, imports: the
    questions to ask. snapshot: whether the whole index is wanted. limits: of the nodes.
    frozen_for: seconds, longer than such limits let a node be silent. engine: "nats", or the URL of
    a server; None: the processes talk over sockets of their own.
    """

    root: str
    indexers: int = 4
    workers: int = 0
    chaos: float = 0.0
    kill: int | None = None
    freeze: int | None = None
    seed: int | None = None
    where: str | None = None
    imports: str | None = None
    snapshot: bool = False
    limits: Limits = attrs.field(factory=Limits)
    frozen_for: float = 20.0
    engine: str | None = None
