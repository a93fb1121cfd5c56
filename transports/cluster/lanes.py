"""In which order messages for one shard go to its owners, one owner after another. Pure.

An owner that does not own the shard (yet, or any more) sends a message back. Those behind it may be
under way already; so from then on that owner sends back all of the same attempt, and the sender
waits until nothing is under way before it begins the next attempt, with what came back, in order.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

import attrs


class Numbered(Protocol):
    """What is to be kept in order."""

    number: int


NumberedT = TypeVar("NumberedT", bound=Numbered)


@attrs.frozen
class Route:
    """Where messages for a shard go: a node, and by which fencing number it owns the shard.

    session: that of the node, by which it does.
    """

    node: str
    fence: int
    session: str = ""


class Lane(Generic[NumberedT]):
    """The messages of one sender for one shard.

    attempt: grows with each time that messages are sent anew.
    """

    def __init__(self) -> None:
        self.attempt = 1
        self.route: Route | None = None
        self.is_blocked = False
        """The owner has sent something back: it is to be tried again after a while."""
        self.pending: deque[NumberedT] = deque()
        self.under_way: dict[NumberedT, None] = {}
        self._came_back: list[NumberedT] = []

    @property
    def waits(self) -> bool:
        """Something is to be sent that is not under way."""
        return bool(self.pending or self._came_back)

    def put(self, item: NumberedT) -> None:
        """Behind all others."""
        self.pending.append(item)

    def ready(self, route: Route | None) -> list[NumberedT]:
        """Those that are to be sent now, on this route; they are under way then."""
        if route is None or not (self.pending or self._came_back):
            return []
        if self.under_way:
            if self._came_back or route != self.route:
                return []
        elif not self._begin(route):
            return []
        items = list(self.pending)
        self.pending.clear()
        self.under_way.update(dict.fromkeys(items))
        return items

    def _begin(self, route: Route) -> bool:
        """Nothing is under way: begin anew, unless the owner is to be let alone for a while."""
        if route == self.route and self.is_blocked:
            return False
        if route != self.route or self._came_back:
            self.attempt += 1
        self.route = route
        self.is_blocked = False
        came_back, self._came_back = self._came_back, []
        self.pending.extendleft(sorted(came_back, key=lambda item: -item.number))
        return True

    def done(self, item: NumberedT) -> None:
        """It has ended, or will, where it is."""
        self.under_way.pop(item, None)

    def sent_back(self, item: NumberedT) -> None:
        """It was not taken."""
        if item in self.under_way:
            del self.under_way[item]
            self._came_back.append(item)
            self.is_blocked = True

    def remove(self, item: NumberedT) -> None:
        """Nobody wants it any more."""
        self.under_way.pop(item, None)
        if item in self.pending:
            self.pending.remove(item)
        if item in self._came_back:
            self._came_back.remove(item)

    def unblock(self) -> None:
        """It has been let alone for long enough."""
        self.is_blocked = False

    def take_all(self) -> list[NumberedT]:
        """All that is not under way, in order; it is no longer here."""
        came_back, self._came_back = self._came_back, []
        items = [*sorted(came_back, key=lambda item: item.number), *self.pending]
        self.pending.clear()
        return items
