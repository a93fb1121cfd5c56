"""Nodes on unix sockets: the processes of one user on one machine."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import trio

from transports.endpoint import Peer
from transports.errors import CannotListen
from transports.nodes.limits import Limits
from transports.nodes.spawnable import Recipe
from transports.sockets import SocketEndpoint, SocketNode, listening

MODE: Final = 0o600
MOST: Final = 107
"""Bytes of a path that a unix socket can have, on Linux."""


class Unix(SocketNode):
    """A node on a unix socket, which only this user's processes can open.

        ActorSystem("shop", transport=Unix("run/shop.sock", peers=["run/cart.sock"]))

    path: of the socket; a file there that no process listens at any more is replaced. None: it only
    calls others. peers: each as PATH, or as NAME@PATH or a Peer, which is refused if another node
    answers there; as with Tcp. secret: as Tcp's, if being the same user is not enough.
    limits, incarnation, types, spawnable: as Node's.

    Raises:
        ValueError: a path is empty or too long, the secret is too short.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        peers: Iterable[str | Peer] = (),
        secret: bytes | None = None,
        incarnation: int | None = None,
        limits: Limits | None = None,
        types: Iterable[type] | None = None,
        spawnable: Iterable[Recipe] | Mapping[str, Recipe] = (),
    ) -> None:
        if isinstance(peers, str):
            raise TypeError(f"peers is a list of paths: [{peers!r}]")
        endpoint = UnixEndpoint(None if path is None else os.fspath(path), secret)
        known = [peer if isinstance(peer, Peer) else parse_peer(peer) for peer in peers]
        super().__init__(
            endpoint,
            known,
            incarnation=incarnation,
            limits=limits,
            types=types,
            spawnable=spawnable,
        )


def parse_peer(text: str) -> Peer:
    """PATH or NAME@PATH, where the name has no slash.

    Raises:
        ValueError: it is neither. (An InvalidAddress is one.)
    """
    name, at, path = text.partition("@")
    if not at or "/" in name:
        return Peer(None, _check_path(text))
    return Peer(name, _check_path(path))


def _check_path(path: str) -> str:
    if not path or "\0" in path:
        raise ValueError(f"no path of a unix socket: {path!r}")
    if len(os.fsencode(path)) > MOST:
        raise ValueError(
            f"the path of a unix socket has at most {MOST} bytes, not "
            f"{len(os.fsencode(path))}: {path}"
        )
    return path


class UnixEndpoint(SocketEndpoint):
    """One unix socket; None: it calls others only."""

    def __init__(self, path: str | None, secret: bytes | None = None) -> None:
        super().__init__(secret, None)
        self.listeners = []
        self.listens = path is not None
        self._path = None if path is None else _check_path(path)
        self._file: os.stat_result | None = None

    @property
    def place(self) -> str:
        return os.path.abspath(self._path) if self._path is not None and self.listeners else ""

    async def open(self) -> None:
        if self._path is None:
            return
        path = self._path
        bound = listening(path, lambda: _bind(path))
        self._file = os.stat(path)
        self.listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(bound))]

    async def _connect(self, where: str) -> trio.SocketStream:
        return await trio.open_unix_socket(where)

    def close(self) -> None:
        if self._path is not None and self._file is not None:
            with contextlib.suppress(OSError), _alone(self._path):
                # Not one that another process has put there since.
                if os.path.samestat(os.stat(self._path), self._file):
                    os.unlink(self._path)
        self._file = None
        super().close()


def _bind(path: str) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone(path):
            _clear(path)
            # No moment at which others could open it, as there would be with chmod after bind.
            before = os.umask(0o777 & ~MODE)
            try:
                bound.bind(path)
            finally:
                os.umask(before)
            bound.listen(128)
    except BaseException:
        bound.close()
        raise
    return bound


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Of processes that start or end at one moment, one at a time looks what is there.

    The lock is on the folder: a lock's own file would be left behind.
    """
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _clear(path: str) -> None:
    """Remove a socket that a process has left when it was killed.

    Raises:
        CannotListen: somebody listens at it, or it is something else than a socket.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        # Whoever listens but does not accept, as a stopped process, is there all the same.
        caller.setblocking(False)
        try:
            caller.connect(path)
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ECONNREFUSED:
                raise
            if not _is_socket(path):
                raise CannotListen(path, "there is a file that is no socket") from None
            os.unlink(path)
            return
    raise CannotListen(path, "a running process listens there already")


def _is_socket(path: str) -> bool:
    return os.stat(path, follow_symlinks=False).st_mode & 0o170000 == 0o140000
