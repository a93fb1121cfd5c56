"""Which children a supervisor has to begin, and when."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from actors.timers import Timer


class Named(Protocol):
    """What can be due."""

    name: str


NamedT = TypeVar("NamedT", bound=Named)


class _Delay:
    """One delay, of those that are left of the children it was set for.

    parked: it may end sooner, by `unpark`.
    """

    __slots__ = ("names", "parked", "timer")

    def __init__(self, names: dict[str, None], parked: bool) -> None:
        self.names = names
        self.parked = parked
        self.timer: Timer | None = None


class Due(Generic[NamedT]):
    """The children to begin: at once, in the order of `next`, or when a delay is over.

    Those that ended together share a delay, and become ready together, in their order.

    add_timer: calls back after so many seconds. over: called when some have become ready.
    """

    def __init__(
        self, add_timer: Callable[[float, Callable[[], None]], Timer], over: Callable[[], None]
    ) -> None:
        self._add_timer = add_timer
        self._over = over
        self._ready: dict[str, NamedT] = {}
        self._delayed: dict[str, tuple[NamedT, _Delay]] = {}

    def add(self, children: Iterable[NamedT], after: float = 0.0) -> None:
        """These are due, after so many seconds. That replaces what was said of each before."""
        listed = tuple(children)
        for child in listed:
            self.remove(child)
        if not after:
            self._ready.update((child.name, child) for child in listed)
        elif listed:
            self._delay(listed, after, parked=False)

    def park(self, children: Iterable[NamedT], at_most: float | None) -> None:
        """These are due when `unpark` is called, or after so many seconds; None: no limit."""
        listed = tuple(children)
        for child in listed:
            self.remove(child)
        self._delay(listed, at_most, parked=True)

    def unpark(self) -> None:
        """What they wait for may be there."""
        parked = {id(delay): delay for _, delay in self._delayed.values() if delay.parked}
        for delay in parked.values():
            if delay.timer is not None:
                delay.timer.cancel()
            self._end(delay)

    def is_parked(self, child: NamedT) -> bool:
        """Whether it waits for `unpark`."""
        return child.name in self._delayed and self._delayed[child.name][1].parked

    def _delay(self, listed: tuple[NamedT, ...], after: float | None, parked: bool) -> None:
        delay = _Delay(dict.fromkeys(child.name for child in listed), parked)
        self._delayed.update((child.name, (child, delay)) for child in listed)
        if after is not None:
            delay.timer = self._add_timer(after, functools.partial(self._end, delay))

    def remove(self, child: NamedT) -> None:
        """It is not to be begun. Not due is no error."""
        self._ready.pop(child.name, None)
        _, delay = self._delayed.pop(child.name, (None, None))
        if delay is not None:
            del delay.names[child.name]
            if not delay.names and delay.timer is not None:
                delay.timer.cancel()

    def ready(self) -> tuple[NamedT, ...]:
        """Those to begin now, in order."""
        return tuple(self._ready.values())

    def next(self) -> NamedT | None:
        """The first of those to begin now."""
        return next(iter(self._ready.values()), None)

    def __contains__(self, child: NamedT) -> bool:
        return child.name in self._ready or child.name in self._delayed

    def _end(self, delay: _Delay) -> None:
        for name in delay.names:
            self._ready[name] = self._delayed.pop(name)[0]
        delay.names = {}
        self._over()
