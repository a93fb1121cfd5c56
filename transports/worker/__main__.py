"""What runs in a worker process: ``python -m transports.worker NODE``, as its parent starts it."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from typing import Final

import trio

from actors import Actor, ActorSystem
from supervision.processes.reports import FD_VARIABLE, READY, encode_record
from supervision.processes.worker_process import WORKER
from transports.endpoint import Peer
from transports.nodes.inspector import inspected
from transports.nodes.node import Node
from transports.unix import Unix
from transports.worker.frozen import FreezeGuard
from transports.worker.host import remove_folder
from transports.worker.orphan import ParentWatch
from transports.worker.settings import FOLDER_VARIABLE, Settings, import_actors

log = logging.getLogger("transports")

ORPHAN_GRACE: Final = 2.0
"""Seconds to end in good order when the parent is gone."""


class Worker(Actor):
    """Stands for the process: whoever watches it hears when it is lost."""

    def receive(self, message: object) -> None:
        """It takes no messages, and must not fail of any."""
        log.warning("%s takes no messages: %s", self.context.ref, type(message).__name__)


class ReportHandler(logging.Handler):
    """Sends log records to the parent."""

    def __init__(self, pipe: int) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        """Write the whole line, or none of it if the parent is gone."""
        try:
            write_all(self._pipe, encode_record(record, _FORMATTER))
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """The parent is gone, and this process about to end: there is nobody to tell."""


_FORMATTER: Final = logging.Formatter("%(message)s")


def write_all(pipe: int, data: bytes) -> None:
    """Write all of it; blocks while the parent does not read."""
    while data:
        data = data[os.write(pipe, data) :]


def read_line(pipe: int) -> bytes:
    """What comes before the first line end; nothing else may have been written."""
    data = b""
    while not data.endswith(b"\n"):
        more = os.read(pipe, 1 << 16)
        if not more:
            raise EOFError("the parent was gone before it said anything")
        data += more
    return data


def take_stdin() -> int:
    """Standard input under another number, so that nobody reads it by chance."""
    mine = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return mine


def main() -> None:
    """Run one worker node until SIGTERM, or until the parent is gone."""
    if not {FD_VARIABLE, FOLDER_VARIABLE} <= os.environ.keys() or os.isatty(0):
        sys.exit("error: a worker process is started by a running system (WorkerProcesses)")
    # Ctrl-C is the parent's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reports = int(os.environ.pop(FD_VARIABLE))
    os.set_inheritable(reports, False)
    folder = os.environ.pop(FOLDER_VARIABLE)
    pipe = take_stdin()
    try:
        settings = Settings.decode(read_line(pipe))
    except EOFError:
        # Perhaps there is no other process that knows of it.
        remove_folder(folder)
        raise
    watch = ParentWatch(pipe, ORPHAN_GRACE, lambda: remove_folder(settings.folder))
    logging.getLogger().addHandler(ReportHandler(reports))
    for name, level in settings.levels.items():
        logging.getLogger(name).setLevel(level)
    sys.path[:] = settings.path
    for module in settings.modules:
        importlib.import_module(module)
    transport = make_transport(settings)
    trio.run(serve, settings, transport, reports)
    watch.end()


def make_transport(settings: Settings) -> Node:
    """What connects this process with its parent and with the other workers."""
    if settings.engine is not None:
        from transports.nats import Nats  # others do without it

        secret = settings.engine["secret"]
        return Nats(
            settings.engine["servers"],
            cluster=settings.engine["cluster"],
            secret=None if secret is None else bytes.fromhex(secret),
            limits=settings.node_limits,
            spawnable=import_actors(settings.actors),
        )
    where = {name: os.path.join(settings.folder, file) for name, file in settings.sockets.items()}
    mine = where.pop(settings.node)
    return Unix(
        mine,
        # (The parent does not call: so it is not waited for, in case it does.)
        peers=[Peer(name, path, calls=name != settings.parent) for name, path in where.items()],
        secret=bytes.fromhex(settings.secret),
        limits=settings.node_limits,
        spawnable=import_actors(settings.actors),
    )


async def serve(settings: Settings, transport: Node, reports: int) -> None:
    """The node, from READY to SIGTERM."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with ActorSystem(
            settings.node, transport=transport, stop_within=settings.grace * 0.75
        ) as system:
            await system.start(Worker, name=WORKER)
            # `trouper top` shows what a worker does, by way of its parent.
            observation = inspected(system)
            guard = FreezeGuard(transport.limits.lost_after, system.env.clock())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(observation.run)
                nursery.start_soon(guard.run)
                observation.ready = True
                write_all(reports, READY)
                await anext(signals)
                nursery.cancel_scope.cancel()


if __name__ == "__main__":
    main()
