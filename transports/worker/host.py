"""Where the worker processes of a node join it: a unix socket of their own in a private folder."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors import Actor
from actors.actor import actor_class
from supervision.processes import Invitation
from transports.endpoint import Handle
from transports.errors import CannotListen
from transports.unix import MOST, UnixEndpoint
from transports.worker.settings import FOLDER_VARIABLE, Settings, import_path

if TYPE_CHECKING:
    from transports.nodes.node import Node

log = logging.getLogger("transports")

PREFIX: Final = "trouper-"
LOCK: Final = "lock"
"""The file that whoever has made a folder holds a lock on, for as long as it lives."""

_IS_NAME: Final = re.compile(rf"{PREFIX}(?![0-9]+$)[a-z0-9_]{{8}}").fullmatch
"""Of a folder that `mkdtemp` has made, and not that of the control sockets, which has a number."""

ROOM: Final = 24
"""Bytes of a socket's path that follow the folder for temporary files."""

END_WITHIN: Final = 1.0
"""Seconds for what an ended process had sent to be read."""


class Host:
    """See `supervision.processes.WorkerHost`. Made by `open_host`."""

    def __init__(self, node: Node, endpoint: HostEndpoint, settings: Settings) -> None:
        self._node = node
        self._endpoint = endpoint
        self._settings = settings
        # The process may run where this package is not installed, and not the current folder.
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        self._env = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}

    def invite(self, node: str) -> Invitation:
        """See WorkerHost."""
        settings = attrs.evolve(self._settings, node=node)
        argv = (sys.executable, "-m", "transports.worker", node)
        env = {**self._env, FOLDER_VARIABLE: settings.folder}
        return Invitation(argv, env, settings.encode())

    async def joined(self, node: str) -> None:
        """See WorkerHost."""
        link = self._node.make_link(node)
        while not link.is_up():
            await link.changed.wait()
        # What it takes comes just behind: a placement is to have the choice of all workers.
        while self._settings.actors and node not in self._node.directory.takes:
            told = trio.Event()
            self._node.spawner.when_changed(told.set)
            await told.wait()

    async def gone(self, node: str, why: str) -> None:
        """See WorkerHost."""
        # A process that it has started may live on, and listen still: the next one is to have it.
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._settings.folder, self._settings.sockets[node]))
        link = self._node.make_link(node)
        with trio.move_on_after(END_WITHIN):
            while link.is_busy():
                await link.changed.wait()
        # Where another process has inherited its socket, the connection does not end by itself.
        link.cut()
        if link.session.peer is not None:
            link.lose(why)

    async def close(self) -> None:
        """See WorkerHost."""
        self._endpoint.scope.cancel()
        await self._endpoint.left.wait()
        for name in self._settings.sockets:
            self._node.worker_nodes.pop(name, None)


class HostEndpoint(UnixEndpoint):
    """A unix socket in a folder of its own, which goes with it, however the node ends."""

    def __init__(self, folder: str, lock: int, socket: str, secret: bytes) -> None:
        super().__init__(os.path.join(folder, socket), secret)
        self.folder = folder
        self.scope = trio.CancelScope()
        self.left = trio.Event()
        self._lock = lock

    async def serve(self, handle: Handle) -> None:
        """Until cancelled, or `scope` is."""
        try:
            with self.scope:
                await super().serve(handle)
        finally:
            self.remove()
            self.left.set()

    def remove(self) -> None:
        """Let the socket and the folder go."""
        self.close()
        remove_folder(self.folder)
        os.close(self._lock)


async def open_host(
    node: Node,
    nodes: Sequence[str],
    actors: Sequence[type[Actor]],
    modules: Iterable[str],
    options: Mapping[str, Any],
) -> Host:
    """See `HostsWorkers.host_workers`.

    Raises:
        ValueError, OSError: as said there.
    """
    known = [each.peer for each in node.links() if each.is_busy() or each.session.peer is not None]
    for name in nodes:
        if name in node.worker_nodes or name == node.name or name in known:
            raise ValueError(f"there is a node {name!r} already: give these workers another name")
    paths = [import_path(actor_class(cls)) for cls in actors]
    secret = node.system.env.nonce(32)
    clear_stale()
    folder, lock = make_folder()
    sockets = {name: str(number) for number, name in enumerate([node.name, *nodes])}
    settings = Settings(
        node=node.name,
        parent=node.name,
        folder=folder,
        sockets=sockets,
        secret=secret.hex(),
        actors=paths,
        modules=list(modules),
        path=import_folders(),
        limits=attrs.asdict(node.limits),
        engine=node.engine_of_workers(),
        **options,
    )
    endpoint = HostEndpoint(folder, lock, sockets[node.name], secret)
    endpoint.introducer.nonce = node.system.env.nonce
    endpoint.introducer.objection = functools.partial(node.objection, endpoint)
    try:
        await endpoint.open()
        # From here on its task removes it.
        node.connect(endpoint, ())
    except BaseException:
        endpoint.remove()
        raise
    for name in nodes:
        # Those that join over an engine come as every other node of the cluster does.
        node.worker_nodes[name] = endpoint if settings.engine is None else node.endpoint
        node.make_link(name)
    return Host(node, endpoint, settings)


# -- folders


def import_folders() -> list[str]:
    """`sys.path`, for a process that may run in another folder."""
    return [os.path.abspath(each) for each in sys.path]


def make_folder() -> tuple[str, int]:
    """A new folder, that only this user can open, and the descriptor of the lock in it.

    Raises:
        CannotListen: there is none whose path is short enough for sockets.
    """
    where = parent_folder()
    while True:
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=where)
        # Until it is locked, another process that starts may take it for stale, and remove it.
        try:
            with contextlib.suppress(FileNotFoundError):
                lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(lock, fcntl.LOCK_EX)
                if os.path.exists(os.path.join(folder, LOCK)):
                    return folder, lock
                os.close(lock)
        except BaseException:
            remove_folder(folder)
            raise


def parent_folder() -> str:
    """The folder for temporary files, or /tmp if its path is too long for sockets."""
    for where in (tempfile.gettempdir(), "/tmp"):
        if len(os.fsencode(where)) + ROOM <= MOST and os.access(where, os.W_OK | os.X_OK):
            return where
    raise CannotListen(tempfile.gettempdir(), "its path is too long for sockets: set TMPDIR")


def remove_folder(folder: str) -> None:
    """Remove it, and what is in it. No error if it is gone."""
    shutil.rmtree(folder, ignore_errors=True)


def clear_stale() -> None:
    """Remove the folders of this user's processes that were killed together with their workers.

    (Where a worker lives on, it is the worker that does this.)
    """
    with contextlib.suppress(OSError), os.scandir(parent_folder()) as entries:
        for entry in entries:
            if _IS_NAME(entry.name) and _clear(entry.path):
                log.info("%s is removed: the process that made it is gone", entry.path)


def _clear(folder: str) -> bool:
    """Remove a folder if it is stale; whether it was."""
    with contextlib.suppress(OSError):
        found = os.stat(folder, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return False
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Locked, as who has just made it may be about to lock it.
                remove_folder(folder)
            finally:
                os.close(lock)
            return True
        # Whoever made it was killed before it had made the lock.
        os.rmdir(folder)
        return True
    return False
