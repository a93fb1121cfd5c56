"""The seam between worker processes and the transport that connects them: it invites, they join."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import attrs

from actors import Actor


@attrs.frozen
class Invitation:
    """How to start the process of one node.

    argv, env: the command. greeting: what it reads first from its standard input, which then stays
    open for as long as its parent lives. It says on the pipe of `reports` when it is ready, logs to
    it, and ends in good order at SIGTERM. It takes no orders from anybody else.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = attrs.field(repr=False)
    greeting: bytes = attrs.field(repr=False)


class WorkerHost(Protocol):
    """A place where the worker processes of one supervisor join its system's node."""

    def invite(self, node: str) -> Invitation:
        """How to start the process of that node, one of those that the host was made for."""

    async def joined(self, node: str) -> None:
        """Return when that node is connected, and takes actors. Waits as long as it takes."""

    async def gone(self, node: str, why: str) -> None:
        """The process of that node has ended: give the node up, after what it had sent."""

    async def close(self) -> None:
        """All processes have ended: leave no socket and no file. Twice is once."""


@runtime_checkable
class HostsWorkers(Protocol):
    """What a transport is that worker processes can be connected by."""

    async def host_workers(
        self,
        nodes: Sequence[str],
        actors: Sequence[type[Actor]],
        modules: Iterable[str],
        options: Mapping[str, Any],
    ) -> WorkerHost:
        """A host for nodes of these names.

        actors: the classes that may be spawned there. modules: to be imported there as well.
        options: `levels`, a dict of loggers and their levels; `grace`, the seconds that a process
        has to end in good order.

        Raises:
            ValueError: one of the names is taken, or a class cannot be imported by another process.
            OSError: there is no place for the sockets.
        """
