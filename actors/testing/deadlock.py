"""The deadlock oracle: who waits for whom, when nobody can act any more.

It fails the test at once, where a mock clock would spin for ever.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, TypeVar

import trio

from actors.ask import Ask
from actors.cell import Cell
from actors.dispatcher import Dispatcher
from actors.errors import brief
from actors.mailbox import NOTHING
from actors.rare import SendWait
from actors.states import STARTING
from actors.testing.clock import VirtualClock
from actors.waiting import PENDING, Waiter
from actors.workers import Worker

T = TypeVar("T")


class Deadlock(AssertionError):
    """Every task waits, no deadline is left, and no thread or socket can wake one.

    Its text says who waits for whom. Attributes: `waits`: a dict from each waiting actor's address
    to the address that it waits for, in the order of the actors' trees; `cycles`: those that wait
    in a circle, each a tuple of addresses.
    """

    def __init__(
        self, waits: dict[str, str], cycles: list[tuple[str, ...]], lines: list[str]
    ) -> None:
        self.waits = waits
        self.cycles = cycles
        circles = [f"  in a circle: {' -> '.join((*cycle, cycle[0]))}" for cycle in cycles]
        super().__init__(
            "\n".join(
                ["every task waits, and nothing is left that could wake one:", *circles, *lines]
            )
        )


async def guard(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run an async function; if the run's VirtualClock finds a deadlock, cancel it and raise that.

    With another clock it just runs it.

    Raises:
        Deadlock: nobody could act any more.
    """
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, VirtualClock):
        return await function(*args)
    results: list[T] = []
    with trio.CancelScope() as scope:
        clock._on_deadlock = scope.cancel
        try:
            results.append(await function(*args))
        except BaseException as error:
            if clock.deadlock is None or not _only_cancelled(error):
                raise
        finally:
            clock._on_deadlock = None
    if clock.deadlock is not None:
        raise clock.deadlock
    return results[0]


def run_virtually(
    function: Callable[..., Awaitable[T]], *args: Any, clock: VirtualClock | None = None
) -> T:
    """`trio.run(function, *args)` in virtual time, with the deadlock oracle.

    Raises:
        Deadlock: nobody could act any more.
        Exception: whatever the function raised.
    """
    return trio.run(guard, function, *args, clock=clock or VirtualClock())


def find_deadlock() -> Deadlock:
    """Look at all tasks and all actors of this run."""
    waits: dict[str, str] = {}
    lines = []
    for cell in _cells():
        for waiter in _pending(cell):
            if waiter.holder is not None:
                waits.setdefault(str(cell), str(waiter.holder))
            lines.append(f"  {_who(cell)} waits for {_for_what(waiter)}")
        rare = cell._rare
        if rare is not None and rare.undecided:
            waits.setdefault(str(cell), str(cell._parent))
            lines.append(f"  {_who(cell)} has failed, and waits for a decision of {cell._parent}")
    for task, worker in _waiting_tasks():
        if worker is not None and worker.cell is not None:
            if not any(True for _ in _pending(worker.cell)):
                lines.append(f"  {_who(worker.cell)} waits {_where(_frames(worker.steps))}")
        elif not _waits_for_children(task):
            lines.append(f"  task {task.name} waits {_where(_frames(task.coro))}")
    return Deadlock(waits, _cycles(waits), lines)


def _cycles(waits: dict[str, str]) -> list[tuple[str, ...]]:
    cycles: list[tuple[str, ...]] = []
    seen: dict[str, None] = {}
    for start in waits:
        path: dict[str, None] = {}
        node = start
        while node in waits and node not in path and node not in seen:
            path[node] = None
            node = waits[node]
        if node in path:
            names = list(path)
            cycles.append(tuple(names[names.index(node) :]))
        seen |= path
    return cycles


def _pending(cell: Cell) -> Iterator[Waiter]:
    for waiter in cell._waits_for():
        if waiter.value is PENDING:
            yield waiter


def _who(cell: Cell) -> str:
    doing = ""
    if cell._message is not NOTHING and cell._handles():
        message = cell._message
        doing = f", handling {brief(message.message if isinstance(message, Ask) else message, 80)},"
    return f"{cell} (incarnation {cell.incarnation}, {cell._state.value}){doing}"


def _for_what(waiter: Waiter) -> str:
    holder = waiter.holder
    if isinstance(waiter, Ask):
        return f"the reply of {holder} to {brief(waiter.message, 80)} ({waiter.where})"
    if isinstance(waiter, SendWait):
        return f"room in the mailbox of {holder} for {brief(waiter.message, 80)}"
    if holder is not None and holder._state is STARTING:
        return f"the start of {holder}"
    return f"{holder} to end"


def _cells() -> Iterator[Cell]:
    """The actors of every system of this thread, in the order of their trees."""
    dispatchers = [each for each in gc.get_objects() if type(each) is Dispatcher and each.is_open]
    for dispatcher in sorted(dispatchers, key=lambda each: each.system.name):
        todo = list((dispatcher.system._root._children or {}).values())[::-1]
        while todo:
            cell = todo.pop()
            yield cell
            todo.extend(list((cell._children or {}).values())[::-1])


def _waiting_tasks() -> Iterator[tuple[trio.lowlevel.Task, Worker | None]]:
    """The tasks that wait, trio's own and idle workers left out; with the worker that it is."""
    root = trio.lowlevel.current_root_task()
    todo = [] if root is None else [root]
    while todo:
        task = todo.pop()
        children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        todo.extend(sorted(children, key=lambda each: each.name, reverse=True))
        name = getattr(getattr(task.coro, "cr_code", None), "co_qualname", "")
        if name == "Workers._work":
            frame = getattr(task.coro, "cr_frame", None)
            worker = None if frame is None else frame.f_locals.get("worker")
            if worker is not None and worker.cell is not None:
                yield task, worker
        elif name not in _OWN and not task.name.startswith("<"):
            yield task, None


_OWN: Final = ("Dispatcher.run", "Timers.run", "EntryQueue.task")


def _frames(awaited: Any) -> Iterator[types.FrameType]:
    """The frames of what is awaited, the outermost first; also through a turn that is stepped."""
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            yield frame
        if hasattr(awaited, "cr_await"):
            awaited = awaited.cr_await
        elif hasattr(awaited, "gi_yieldfrom"):
            awaited = awaited.gi_yieldfrom
        else:
            # The iterator that `coroutine.__await__()` gives tells its coroutine to nobody else.
            referents = gc.get_referents(awaited)
            awaited = next((each for each in referents if hasattr(each, "cr_await")), None)


def _waits_for_children(task: trio.lowlevel.Task) -> bool:
    return any(frame.f_code.co_name == "_nested_child_finished" for frame in _frames(task.coro))


def _where(frames: Iterator[types.FrameType]) -> str:
    """The innermost line that is neither trio's nor the runtime's."""
    place = "somewhere"
    for frame in frames:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in ("trio", "outcome", "actors"):
            file = frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
            place = f"in {frame.f_code.co_name}, {file}:{frame.f_lineno}"
    return place


def _only_cancelled(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_only_cancelled, error.exceptions))
    return isinstance(error, trio.Cancelled)
