"""Which sequence numbers have been accepted, though not in order: one mark and ranges above it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable


class Ranges:
    """A set of the numbers from 1 up: all up to `below`, and ranges above it that do not touch.

    Adding in order costs nothing; out of order it costs a search among the ranges, of which there
    is at most one for each number that is missing.
    """

    __slots__ = ("_firsts", "_lasts", "below")

    def __init__(self) -> None:
        self.below = 0
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __len__(self) -> int:
        """The number of ranges above `below`."""
        return len(self._firsts)

    def add(self, number: int) -> bool:
        """Add a number; False if it was there."""
        firsts, lasts = self._firsts, self._lasts
        if number == self.below + 1:
            self.below = number
            if firsts and firsts[0] == number + 1:
                self.below = lasts.pop(0)
                del firsts[0]
            return True
        if number <= self.below:
            return False
        place = bisect_right(firsts, number)
        if place and number <= lasts[place - 1]:
            return False
        touches_left = place > 0 and lasts[place - 1] == number - 1
        touches_right = place < len(firsts) and firsts[place] == number + 1
        if touches_left and touches_right:
            lasts[place - 1] = lasts.pop(place)
            del firsts[place]
        elif touches_left:
            lasts[place - 1] = number
        elif touches_right:
            firsts[place] = number
        else:
            firsts.insert(place, number)
            lasts.insert(place, number)
        return True

    def add_run(self, first: int, last: int) -> bool:
        """Add all of these; False if one of them was there."""
        firsts = self._firsts
        if first == self.below + 1 and not (firsts and firsts[0] <= last + 1):
            self.below = last
            return True
        added = [self.add(number) for number in range(first, last + 1)]
        return all(added)

    def around(self, numbers: Iterable[int]) -> dict[int, int]:
        """The ranges that have these numbers, as first and last, ascending if the numbers are."""
        found: dict[int, int] = {}
        for number in numbers:
            place = bisect_right(self._firsts, number) - 1
            if place >= 0 and number <= self._lasts[place]:
                found[self._firsts[place]] = self._lasts[place]
        return found

    def firsts(self) -> list[int]:
        """The first number of each range."""
        return list(self._firsts)

    def part(self, start: int, most: int) -> tuple[tuple[int, int], ...]:
        """At most `most` of the ranges, in order, from the one of index `start`."""
        end = start + most
        return tuple(zip(self._firsts[start:end], self._lasts[start:end], strict=True))


def among(ordered: Collection[int], ranges: tuple[tuple[int, int], ...]) -> list[int]:
    """The numbers of the ranges, in order, at the cost of the lesser of the two.

    All that are in `ordered` are among them; others are only if the ranges have fewer numbers.
    `ordered` is ascending; so are the ranges, of which there is at least one.
    """
    if sum(last - first + 1 for first, last in ranges) <= len(ordered):
        return [number for first, last in ranges for number in range(first, last + 1)]
    found: list[int] = []
    rest = iter(ranges)
    first, last = next(rest)
    for number in ordered:
        while last < number:
            after = next(rest, None)
            if after is None:
                return found
            first, last = after
        if first <= number:
            found.append(number)
    return found
