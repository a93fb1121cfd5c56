"""Spawning an idle actor; against making two plain objects with as many slots.

The runtime keeps a cell and an actor for each, and finds them through a dict. The limit makes two
objects with the slots that those two really have, sets each slot, and puts them into a dict.
"""

from collections.abc import Callable
from time import perf_counter

from actors import Actor, ActorSystem
from actors.cell import Cell
from benchmarks.harness import Speed


class Idle(Actor):
    """An actor with one attribute, that gets no message."""

    def __init__(self) -> None:
        self.count = 0

    def receive(self, message: object) -> None:
        """Count the message."""
        self.count += 1


async def spawn(system: ActorSystem, count: int) -> float:
    """Spawn `count` actors by the system, without names; they stay."""
    spawn_one = system.spawn
    start = perf_counter()
    for _ in range(count):
        spawn_one(Idle)
    return count / (perf_counter() - start)


def slots(cls: type) -> int:
    """How many attributes an object of class `cls` has slots for, those of its bases included."""
    total = 0
    for base in cls.__mro__:
        names = base.__dict__.get("__slots__", ())
        names = (names,) if isinstance(names, str) else names
        total += sum(name not in ("__dict__", "__weakref__") for name in names)
    return total


def plain_class(slot_count: int) -> Callable[..., object]:
    """A class with `slot_count` slots (at least one), all set by its ``__init__``.

    The first slot is set to the argument, if there is one; the others to None.
    """
    names = [f"slot_{number}" for number in range(slot_count)]
    lines = [
        f"        self.{names[0]} = first",
        *(f"        self.{name} = None" for name in names[1:]),
    ]
    source = "\n".join(
        [
            "class Plain:",
            f"    __slots__ = {tuple(names)!r}",
            "    def __init__(self, first=None):",
            *lines,
        ]
    )
    scope: dict[str, Callable[..., object]] = {}
    exec(source, scope)
    return scope["Plain"]


def spawn_limit(count: int) -> float:
    """Make an object like the actor and one like the cell that holds it, and put it into a dict."""
    # One more than the actor's class has slots for: the attribute that `Idle` keeps.
    cell, actor = plain_class(slots(Cell)), plain_class(slots(Idle) + 1)
    made: dict[int, object] = {}
    start = perf_counter()
    for number in range(count):
        made[number] = cell(actor())
    return len(made) / (perf_counter() - start)


BENCHMARKS = (
    Speed(
        "spawn",
        "spawn of an idle actor",
        spawn,
        spawn_limit,
        "two objects with the same slots",
        50_000,
        100_000,
        reach=0.30,
    ),
)
