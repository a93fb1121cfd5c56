"""A history of the asks and sends of one process: what a checker of linearizability reads.

A line of JSON each, as in Jepsen's histories: `invoke` when an operation begins, and then `ok`,
`fail` (it has not been done, and will not be) or `unknown` (it may have been done, in part too).
An operation without a second line was under way when the process ended: unknown. Times are those
of the machine's monotonic clock, so the histories of processes of one machine can be merged; ids
are unique among all. See docs/operations.md.

A line is written at once, without a buffer in the process: so it survives a SIGKILL.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors import (
    ActorRef,
    ActorStopped,
    ActorSystem,
    AskCycle,
    AskTimeout,
    MailboxFull,
    NotAMessage,
    NotAskable,
    NotRunning,
    WrongThread,
)
from actors.cell import Cell
from actors.recorded import Recorded, RecordedCell
from transports.encoding.json_form import JsonForm
from transports.errors import NotEncodable
from transports.nodes.node import Node
from transports.nodes.remote_ref import RemoteRef

if TYPE_CHECKING:
    from actors.dispatcher import Dispatcher

log = logging.getLogger("transports")

NOT_DONE: Final = (
    AskCycle,
    MailboxFull,
    NotAMessage,
    NotAskable,
    NotEncodable,
    NotRunning,
    WrongThread,
)
"""Errors after which nobody has the message, nor will."""


class RecordedRemoteRef(Recorded, RemoteRef):
    """The ref of an actor of another node, in a recorded system."""

    __slots__ = ()

    def _recorded_by(self) -> Dispatcher:
        return self._node.dispatcher


class History:
    """Writes the history of one system to a file, behind what is there already.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        half = ends_in_a_line(path)
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        if half:
            # The disk was full, or the machine stopped. What follows is to be lines of its own.
            os.write(self._file, b"\n")
        self._path = path
        self._encode = msgspec.json.Encoder().encode
        self._number = 0
        self._kinds: dict[int, str] = {}

    def attach(self, system: ActorSystem) -> None:
        """Record this system. Before it is entered: the actors that it has are not recorded."""
        self._system = system
        self._form = JsonForm(system.at)
        transport = system._transport
        if isinstance(transport, Node):
            transport.ref_class = RecordedRemoteRef
        self._node: dict[str, Any] = {"node": system.name, "incarnation": None}
        system._dispatcher.cell_class = RecordedCell
        system._dispatcher.recorder = self

    def close(self) -> None:
        """Write nothing more."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    # -- as a Recorder

    def invoked(self, kind: str, sender: Cell | None, target: ActorRef, message: object) -> int:
        self._number += 1
        number = self._number
        self._kinds[number] = kind
        if self._node["incarnation"] is None:
            transport = self._system._transport
            known = transport.incarnation if isinstance(transport, Node) else None
            self._node["incarnation"] = known or self._system.env.incarnation()
        self._write(
            number,
            "invoke",
            target,
            {
                "from": None if sender is None else str(sender.address),
                "from_incarnation": None if sender is None else sender.incarnation,
                "message": self._form.encode(message),
            },
        )
        return number

    def returned(self, number: int, target: ActorRef, value: object) -> None:
        self._write(number, "ok", target, {"value": self._form.encode(value)})
        del self._kinds[number]

    def raised(self, number: int, target: ActorRef, error: BaseException) -> None:
        how = "fail" if was_not_done(self._kinds[number], error) else "unknown"
        self._write(number, how, target, {"error": type(error).__name__, "text": str(error)})
        del self._kinds[number]

    def _write(self, number: int, how: str, target: ActorRef, more: dict[str, Any]) -> None:
        if self._file is None:
            return
        line = {
            "type": how,
            "id": f"{self._node['node']}/{self._node['incarnation']}/{number}",
            "time": self._system.env.wall_clock(),
            "kind": self._kinds[number],
            **self._node,
            "to": str(target.address),
            "to_incarnation": target.incarnation if isinstance(target, Cell) else None,
            **more,
        }
        data = self._encode(line) + b"\n"
        try:
            # A disk that becomes full takes a part of it, and refuses the next.
            while data:
                data = data[os.write(self._file, data) :]
        except OSError:
            # A history with a hole would prove what is not so.
            log.exception("the history %s ends here: it cannot be written", self._path)
            self.close()


def ends_in_a_line(path: str | Path) -> bool:
    """Whether the last line of a file, if it is one, was not written to its end.

    Raises:
        OSError: it cannot be read.
    """
    if not os.path.isfile(path) or not os.path.getsize(path):
        return False
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def was_not_done(kind: str, error: BaseException) -> bool:
    """Whether an operation that raised has surely not been done, and will not be."""
    if isinstance(error, NOT_DONE):
        return True
    if kind == "send":
        # One that is cancelled has not sent; any other error comes before the message is taken.
        return True
    if isinstance(error, ActorStopped):
        return not error.started
    return isinstance(error, AskTimeout) and error.where == "waiting for room"


@contextlib.contextmanager
def recording(system: ActorSystem, path: str | Path | None) -> Iterator[None]:
    """Record the system, which has not been entered yet, in a file; None: do not."""
    if path is None:
        yield
        return
    history = History(path)
    try:
        history.attach(system)
        yield
    finally:
        history.close()
