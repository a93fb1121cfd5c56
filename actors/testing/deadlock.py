"""The deadlock oracle: who waits for whom, when nobody can act any more.

It fails the test at once, where a mock clock would spin for ever.
"""

from __future__ import annotations

import functools
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
from actors.sinks import RoomWait
from actors.states import STARTING
from actors.streams import ItemWait
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


class Guard:
    """A scope that is cancelled when its clock finds a deadlock, and raises that in its place."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._scope = trio.CancelScope()
        self._found: Deadlock | None = None

    def cancel(self, found: Deadlock) -> bool:
        """End what runs inside. False if that was tried already, and did not help."""
        if self._found is not None:
            return False
        self._found = found
        self._scope.cancel()
        return True

    async def around(self, awaited: Awaitable[T]) -> T:
        """Await something under this guard. Once only.

        Raises:
            Deadlock: one was found. What the cancelled code raised besides is its context.
        """
        results: list[T] = []
        self._clock._guards.append(self)
        try:
            with self._scope:
                results.append(await awaited)
        except Exception as error:
            # What no deadlock caused passes, and so does one that an inner guard has found.
            if self._found is None or isinstance(error, Deadlock):
                raise
            raise self._found  # noqa: B904 - it comes of the deadlock, and did not cause it
        finally:
            self._clock._guards.remove(self)
        if self._found is not None:
            raise self._found
        return results[0]


async def guard(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run an async function; if the run's VirtualClock finds a deadlock, cancel it and raise that.

    The whole of a run in virtual time is guarded already: this is for a part of it, such as one
    test, whose fixtures then still end in order. With another clock it just runs it.

    Raises:
        Deadlock: nobody could act any more.
    """
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, VirtualClock):
        return await function(*args)
    return await Guard(clock).around(function(*args))


def run_virtually(
    function: Callable[..., Awaitable[T]], *args: Any, clock: VirtualClock | None = None
) -> T:
    """`trio.run(function, *args, clock=VirtualClock())`, typed.

    Raises:
        Deadlock: nobody could act any more.
        Exception: whatever the function raised.
    """
    return trio.run(functools.partial(function, *args), clock=clock or VirtualClock())


def waits_outside() -> bool:
    """Whether a task waits for what comes by real time alone, or from a thread."""
    return any(
        (frame.f_globals.get("__name__"), frame.f_code.co_name) in _OUTSIDE
        for task in _tasks()
        for frame in _frames(task.coro)
    )


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
            awaited = _awaited(task)
            what = "" if awaited is None else f", for {_for_what(awaited)}"
            lines.append(f"  task {task.name} waits {_where(_frames(task.coro))}{what}")
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
    if isinstance(waiter, ItemWait):
        ask = waiter.channel.ask
        what = "" if ask is None else f" for {brief(ask.message, 80)} ({ask.where})"
        return f"the next item of the stream of {holder}{what}"
    if isinstance(waiter, RoomWait):
        ask = waiter.sink.ask
        what = "" if ask is None else f" {brief(ask.message, 80)}"
        return f"{holder or 'a task'} to take items of the stream{what}"
    if holder is not None and holder._state is STARTING:
        return f"the start of {holder}"
    return f"{holder} to end"


def _cells() -> Iterator[Cell]:
    """The actors of every system of this run, in the order of their trees."""
    for dispatcher in sorted(_dispatchers(), key=lambda each: each.system.name):
        todo = list((dispatcher.system._root._children or {}).values())[::-1]
        while todo:
            cell = todo.pop()
            yield cell
            todo.extend(list((cell._children or {}).values())[::-1])


def _dispatchers() -> Iterator[Dispatcher]:
    # By their tasks, and not by the garbage collector: that does not know what is frozen.
    for task in _tasks():
        if _name_of(task) == "Dispatcher.run":
            dispatcher = _local(task.coro, "self")
            if isinstance(dispatcher, Dispatcher) and dispatcher.is_open:
                yield dispatcher


def _tasks() -> Iterator[trio.lowlevel.Task]:
    """All tasks of this run, each before those in its nurseries."""
    root = trio.lowlevel.current_root_task()
    todo = [] if root is None else [root]
    while todo:
        task = todo.pop()
        yield task
        children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        todo.extend(sorted(children, key=lambda each: each.name, reverse=True))


def _waiting_tasks() -> Iterator[tuple[trio.lowlevel.Task, Worker | None]]:
    """The tasks that wait, trio's own and idle workers left out; with the worker that it is."""
    for task in _tasks():
        name = _name_of(task)
        if name == "Workers._work":
            worker = _local(task.coro, "worker")
            if worker is not None and worker.cell is not None:
                yield task, worker
        elif name not in _OWN and task.name != "<init>":
            yield task, None


_OWN: Final = ("Dispatcher.run", "Timers.run", "EntryQueue.task")

_OUTSIDE: Final = (
    ("trio._core._run", "wait_all_tasks_blocked"),
    ("trio._threads", "to_thread_run_sync"),
)
"""Functions of trio that wait for real time to pass (a cushion), or for a thread of any limiter."""


def _name_of(task: trio.lowlevel.Task) -> str:
    return getattr(getattr(task.coro, "cr_code", None), "co_qualname", "")


def _local(coroutine: Any, name: str) -> Any:
    frame = getattr(coroutine, "cr_frame", None)
    return None if frame is None else frame.f_locals.get(name)


def _awaited(task: trio.lowlevel.Task) -> Waiter | None:
    """What of an actor the task waits for, if that is what it waits for."""
    for frame in _frames(task.coro):
        if frame.f_code is Waiter.wait_in_task.__code__:
            waiter = frame.f_locals.get("self")
            return waiter if isinstance(waiter, Waiter) else None
    return None


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
