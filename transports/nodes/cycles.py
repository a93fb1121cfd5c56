"""Asks that wait on themselves across nodes: a probe follows what each actor waits for.

Each node knows the waits of its own actors only. So a probe, which is the chain so far, goes on
from node to node, and where the chain comes back to one of its actors, that wait is ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors import AskCycle, InvalidAddress
from actors.address import Address
from actors.ask import Ask
from actors.cell import Cell
from actors.waiting import PENDING, Raised, Waiter
from transports.encoding import envelope
from transports.nodes.remote_ref import RemoteRef
from transports.nodes.spawner import StartWait

if TYPE_CHECKING:
    from transports.nodes.node import Node

LONGEST: Final = 1_000
"""Addresses of a chain that is sent on."""


class Probes:
    """The probes that come to one node, or begin there."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def follow(self, chain: tuple[str, ...]) -> None:
        """Follow a chain of waits through this node: on to other nodes, or to where it began."""
        try:
            cell = self._node.system._find(Address.parse(chain[-1]))
        except (IndexError, InvalidAddress):
            return  # Whatever a peer says.
        if cell is None:
            return
        todo: list[tuple[Cell, tuple[str, ...]]] = [(cell, chain)]
        seen: dict[Cell, None] = {cell: None}
        while todo:
            cell, path = todo.pop()
            for waiter in cell._waits_for():
                holder: object = waiter.holder
                if waiter.value is not PENDING or holder is None:
                    continue
                address = str(holder)
                if address in path:
                    self._break(waiter, [*path[path.index(address) :], address])
                elif isinstance(holder, RemoteRef):
                    link = self._node.link_still(holder.address.node)
                    if link is not None and len(path) < LONGEST:
                        link.control(envelope.Probe((*path, address)))
                elif isinstance(holder, Cell) and holder not in seen:
                    seen[holder] = None
                    todo.append((holder, (*path, address)))

    def _break(self, waiter: Waiter, chain: list[str]) -> None:
        if isinstance(waiter, StartWait):
            waiter.resolve(Raised(AskCycle(self._node.refs_of(chain))))
        if not isinstance(waiter, Ask):
            return
        holder: object = waiter.holder
        if isinstance(holder, RemoteRef):
            link = self._node.link_still(holder.address.node)
            if link is not None:
                link.asks.fail_wait(waiter, chain)
        else:
            waiter.answer(Raised(AskCycle(self._node.refs_of(chain))))
