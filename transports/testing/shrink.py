"""From a list of faults that fails a run to a smallest one that still does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrink(
    items: Sequence[T], still_fails: Callable[[Sequence[T]], bool], most: int = 400
) -> tuple[list[T], int]:
    """A list of which no single item can be left out, in at most `most` tries; and the tries made.

    Delta debugging (Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input,
    2002): ever smaller parts are left out, as long as it still fails without them. `items` fails.
    """
    kept = list(items)
    tries = 0
    parts = 2

    def fails(candidate: list[T]) -> bool:
        nonlocal tries
        tries += 1
        return still_fails(candidate)

    if kept and tries < most and fails([]):
        return [], tries
    while len(kept) > 1 and tries < most:
        size = -(-len(kept) // parts)
        chunks = [kept[start : start + size] for start in range(0, len(kept), size)]
        for place, chunk in enumerate(chunks):
            if tries >= most:
                break
            if len(chunks) > 2 and fails(chunk):
                kept, parts = chunk, 2
                break
            rest = [item for other in (*chunks[:place], *chunks[place + 1 :]) for item in other]
            if fails(rest):
                kept, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(len(kept), parts * 2)
    return kept, tries
