"""What the actors of a system are doing, for those who look from outside.

Nothing here is on the path of a message. While somebody looks, the dispatcher counts what each turn
has taken out of its mailbox, and the tree is sampled now and then; otherwise neither.

The age of the oldest message needs no time stamp on any: a mailbox is a queue, so the message at
its head now was there at an earlier sample, if `taken` is still below the `taken + depth` of then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING, Final

import attrs
import trio

from actors.states import STOPPED

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.system import ActorSystem

INTERVAL: Final = 0.2
"""Seconds between two samples: how exact an age is."""

SHARE: Final = 0.05
"""Of the time, what sampling may take at the most: a larger tree is sampled less often."""

AT_ONCE: Final = 500
"""Actors that are looked at before other tasks have a turn."""

IDLE_AFTER: Final = 10.0
"""Seconds after the last look until nothing is counted any more."""

MARKS: Final = 64
"""Samples kept of one mailbox: when they are all used, every other one is dropped."""

WINDOW: Final = 2.0
"""Seconds of which a rate is the mean, if there are that many."""


@attrs.frozen
class Observed:
    """One actor, at one moment.

    depth: messages that wait in its mailbox, stashed ones too. capacity: None: unlimited.
    waiting: senders that wait for room. handling: whether it is in the middle of a message.
    handled: since somebody looks; rate: a second. age: seconds that its oldest message has waited;
    at_least: it may be longer, since it was there when the first look began. None: not known yet.
    """

    address: str
    kind: str
    state: str
    incarnation: int
    depth: int
    capacity: int | None
    waiting: int
    handling: bool
    handled: int
    rate: float | None
    age: float | None
    at_least: bool


class _History:
    """What the samples of one actor have shown."""

    __slots__ = ("counts", "marks", "thinned")

    def __init__(self) -> None:
        # (time, taken), and (time, taken + depth) since its mailbox was last empty.
        self.counts: deque[tuple[float, int]] = deque()
        self.marks: deque[tuple[float, int]] = deque()
        self.thinned = False

    def add(self, now: float, taken: int, depth: int) -> None:
        counts, marks = self.counts, self.marks
        counts.append((now, taken))
        while len(counts) > 2 and counts[1][0] <= now - WINDOW:
            counts.popleft()
        self.forget(taken)
        if depth:
            if len(marks) >= MARKS:
                # The first one stays: it says how old the oldest may be.
                self.marks = marks = deque(list(marks)[::2])
            marks.append((now, taken + depth))

    def forget(self, taken: int) -> None:
        """The samples at which the message that is at the head now was not there yet."""
        while self.marks and self.marks[0][1] <= taken:
            self.marks.popleft()

    @property
    def rate(self) -> float | None:
        """Messages a second."""
        (began, before), (ended, after) = self.counts[0], self.counts[-1]
        return (after - before) / (ended - began) if ended > began else None


class Observation:
    """Looks at the actors of one system.

    `run()` is a task of its own; `look()` shows them.
    """

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self._dispatcher = system._dispatcher
        self._clock: Callable[[], float] = trio.current_time
        self._looked_at = -inf
        self._began = inf
        self._looked = trio.Event()
        self._sampled = trio.Event()
        self._histories: dict[Cell, _History] = {}
        self.ready = False
        """Whether the program has said that it is ready; for those who wait for that."""

    # -- sampling

    async def run(self) -> None:
        """Sample while somebody looks; until cancelled."""
        try:
            while True:
                await self._looked.wait()
                self._dispatcher.taken_of = {}
                self._began = self._clock()
                while self._clock() - self._looked_at < IDLE_AFTER:
                    # A system under a test has another clock, and its work is no real time.
                    began = self._system.env.wall_clock()
                    await self._sample()
                    worked = self._system.env.wall_clock() - began
                    await trio.sleep(max(INTERVAL, worked / SHARE))
                self._stop()
        finally:
            self._stop()

    def _stop(self) -> None:
        self._dispatcher.taken_of = None
        self._histories.clear()
        self._began = inf
        self._looked = trio.Event()

    async def _sample(self) -> None:
        for number, cell in enumerate(self._system._cells()):
            if number % AT_ONCE == AT_ONCE - 1:
                await trio.lowlevel.checkpoint()
            taken, depth = self._taken(cell), _depth(cell)
            history = self._histories.get(cell)
            if history is None:
                if not (taken or depth):
                    continue
                history = self._histories[cell] = _History()
            history.add(self._clock(), taken, depth)
        self._let_go()
        sampled, self._sampled = self._sampled, trio.Event()
        sampled.set()

    def _let_go(self) -> None:
        """Of actors that have stopped, nothing is kept."""
        for cell in [cell for cell in self._histories if cell._state is STOPPED]:
            del self._histories[cell]
        taken_of = self._dispatcher.taken_of or {}
        for cell in [cell for cell in taken_of if cell._state is STOPPED]:
            del taken_of[cell]

    def _taken(self, cell: Cell) -> int:
        """Messages that it has taken out of its mailbox since somebody looks."""
        return (self._dispatcher.taken_of or {}).get(cell, 0) + cell._done

    # -- looking

    async def look(self, seconds: float = 0.0) -> Iterator[Observed]:
        """The actors now, parents before their children.

        seconds: how long to observe before, if nobody does yet: rates and ages need it.
        """
        self._looked_at = self._clock()
        if not self._looked.is_set():
            self._looked.set()
            await self._sampled.wait()
        missing = seconds - (self._clock() - self._began)
        if missing > 0:
            await trio.sleep(missing)
            await self._sampled.wait()
        return self._observed()

    def _observed(self) -> Iterator[Observed]:
        todo = [(cell, "") for cell in reversed((self._system._root._children or {}).values())]
        above = f"actor://{self._system.name}"
        while todo:
            cell, path = todo.pop()
            path = f"{path}/{cell._name}"
            yield self._one(cell, f"{above}{path}")
            if cell._children:
                todo.extend((child, path) for child in reversed(cell._children.values()))

    def _one(self, cell: Cell, address: str) -> Observed:
        depth, taken = _depth(cell), self._taken(cell)
        rare = cell._rare
        handling = cell._handles()
        rate: float | None = None
        age: float | None = None
        at_least = False
        history = self._histories.get(cell)
        if history is not None:
            rate = history.rate
            history.forget(taken)
            if depth and history.marks:
                first = history.marks[0][0]
                age = self._clock() - first
                at_least = first - self._began < INTERVAL
            elif depth:
                age = 0.0
        elif self._dispatcher.taken_of is not None and self._clock() - self._began > INTERVAL:
            rate = 0.0
        return Observed(
            address,
            cell._traits.cls.__name__,
            cell._state.value,
            cell.incarnation,
            depth,
            cell._capacity,
            0 if rare is None else len(rare.senders),
            handling,
            taken - handling,
            rate,
            age,
            at_least,
        )


def _depth(cell: Cell) -> int:
    """Messages that wait, stashed ones too."""
    rare = cell._rare
    stashed = 0 if rare is None else len(rare.stash) - rare.stashed_now
    return cell._waiting_messages() + stashed
