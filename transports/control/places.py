"""Where control sockets are: one for each node of this user on this machine, by the node's name.

The folder is `$XDG_RUNTIME_DIR/trouper`, or `trouper-UID` in the folder for temporary files, and
only its owner may enter it. Beside each socket there is a file that its node holds locked for as
long as it lives, however it ends. So who has the lock may remove the socket of a former node, and
two nodes cannot have one name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from actors import ActorError

LONGEST_PATH: Final = 107
"""Bytes of the path of a unix socket."""


class NoPlace(ActorError, OSError):
    """There can be no control socket at that place; the text says why, and what to do."""


class NodeRuns(ActorError):
    """A node of that name runs here already. Attributes: `name`, `path`."""

    def __init__(self, name: str, path: Path, process: str) -> None:
        self.name = name
        self.path = path
        who = f" (process {process})" if process else ""
        if path.name == f"{name}.sock":
            text = f"a node {name!r} runs here already{who}: choose another name"
        else:
            text = f"a node has its control socket at {path} already{who}: choose another place"
        super().__init__(text)


@attrs.frozen
class Place:
    """The place of one node's control socket."""

    name: str
    path: Path

    @property
    def lock(self) -> Path:
        """The file that its node holds locked."""
        return self.path.with_name(f"{self.path.name}.lock")

    def answers(self) -> bool:
        """Whether anybody takes calls there. (To try the lock could keep a node from having it.)"""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as call:
            call.setblocking(False)
            try:
                call.connect(str(self.path))
            except BlockingIOError:
                return True
            except OSError:
                return False
        return True


def runtime_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The folder of this user's control sockets; it need not exist."""
    given = (os.environ if environment is None else environment).get("XDG_RUNTIME_DIR", "")
    if given and os.path.isdir(given):
        return Path(given) / "trouper"
    return Path(tempfile.gettempdir()) / f"trouper-{os.geteuid()}"


def check_folder(folder: Path, *, make: bool = False) -> None:
    """Look whether only this user may enter the folder; `make` it if it is not there.

    Raises:
        NoPlace: it is not so.
    """
    try:
        if make:
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
        status = folder.lstat()
    except OSError as error:
        raise NoPlace(f"no folder for control sockets, {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise NoPlace(f"{folder} is no folder: remove it, or set XDG_RUNTIME_DIR to another one")
    if status.st_uid != os.geteuid():
        raise NoPlace(f"{folder} belongs to another user: set XDG_RUNTIME_DIR to a folder of yours")
    if status.st_mode & 0o077:
        raise NoPlace(f"others may enter {folder}: chmod 700 {folder}")


def place_of(name: str, path: str | Path | None = None) -> Place:
    """The place of a node of that name; `path`: at another one than is usual."""
    if path is not None:
        return Place(name, Path(path).absolute())
    return Place(name, runtime_folder() / f"{name}.sock")


def find_places() -> list[Place]:
    """The places of the nodes that run here now, by name.

    Raises:
        NoPlace: the folder is not this user's own.
    """
    folder = runtime_folder()
    if not folder.exists():
        return []
    check_folder(folder)
    paths = sorted(folder.glob("*.sock"))
    return [place for path in paths if (place := Place(path.stem, path)).answers()]


@contextlib.contextmanager
def claim(place: Place) -> Iterator[None]:
    """Hold a place: no other node can have it, and what a former one has left there is removed.

    Raises:
        NodeRuns: another one holds it.
        NoPlace: it cannot be used.
    """
    if len(os.fsencode(place.path)) > LONGEST_PATH:
        raise NoPlace(
            f"{place.path} is longer than the {LONGEST_PATH} bytes that a unix socket may have: "
            "choose another place by --control or XDG_RUNTIME_DIR, or a shorter name"
        )
    if place.path.parent == runtime_folder():
        check_folder(place.path.parent, make=True)
    file = _lock(place)
    try:
        _remove_stale(place)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                place.path.unlink()
    finally:
        with contextlib.suppress(OSError):
            place.lock.unlink()
        os.close(file)


def _lock(place: Place) -> int:
    while True:
        try:
            file = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise NoPlace(f"no control socket at {place.path}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            process = os.read(file, 20).decode(errors="replace").strip()
            os.close(file)
            raise NodeRuns(place.name, place.path, process) from None
        with contextlib.suppress(OSError):
            # Between the two calls its last holder may have removed it: then it locks nothing.
            if os.fstat(file).st_ino == place.lock.stat().st_ino:
                os.ftruncate(file, 0)
                os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
                return file
        os.close(file)


def _remove_stale(place: Place) -> None:
    try:
        status = place.path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise NoPlace(f"no control socket at {place.path}: {error.strerror}") from error
    if not stat.S_ISSOCK(status.st_mode):
        raise NoPlace(f"{place.path} is there already, and is no socket: choose another place")
    place.path.unlink()


def bind(place: Place) -> socket.socket:
    """A socket that listens there, and that only this user may connect to.

    Raises:
        NoPlace: it cannot be bound.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(place.path))
        # Before it listens nobody can connect, so there is no moment at which others could.
        place.path.chmod(0o600)
        listening.listen(16)
    except OSError as error:
        listening.close()
        raise NoPlace(f"no control socket at {place.path}: {error.strerror}") from error
    listening.setblocking(False)
    return listening
