"""The private names of trio that the runtime uses. A canary test fails if trio changes one.

Without them everything still works: asks between actors just wait on tasks, and a handler that
leaves a scope or nursery open ends the system and not only its actor.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import trio

_KNOWN = hasattr(trio.lowlevel.Task, "_cancel_status")


def _unknown(_: object) -> object:
    return object()


cancel_status: Callable[[trio.lowlevel.Task | trio.CancelScope | None], object] = (
    attrgetter("_cancel_status") if _KNOWN else _unknown
)
"""The innermost scope that a task is in, or what a scope is known by: compared by identity.

Code of a task that is in another scope than the worker's own has entered a cancel scope or a
nursery and not left it. It is then tied to its task: trio keeps scopes on the task, and only
that task can leave them. A new object each time if trio no longer has the name, so that every
comparison says "tied", which is always safe.
"""


def _unknown_too(_: object) -> bool:
    return True


_STATUS_KNOWN = hasattr(getattr(trio._core._run, "CancelStatus", None), "effectively_cancelled")

may_be_cancelled: Callable[[trio.lowlevel.Task], bool] = (
    attrgetter("_cancel_status.effectively_cancelled") if _KNOWN and _STATUS_KNOWN else _unknown_too
)
"""Whether a checkpoint of this task could raise Cancelled. (To await one costs three times that.)

True if trio no longer has the names: then the checkpoint finds out.
"""


def is_left_open(task: trio.lowlevel.Task | None, status: object) -> bool:
    """Whether the task is in a scope or nursery that it entered since it was in `status`."""
    return cancel_status(task) is not status and _KNOWN


def has_nurseries(task: trio.lowlevel.Task | None) -> bool:
    """Whether a nursery of the task is open; also one that was torn out of its scopes."""
    return task is not None and bool(task.child_nurseries)


async def close_what_is_open(task: trio.lowlevel.Task, status: Any) -> list[BaseException]:
    """Cancel and leave every scope and nursery that the current task entered since `status`.

    Returns what their tasks raised, but for cancellations: if the task itself is cancelled, it
    will hear of that at its next checkpoint. Call it on the task itself.
    """
    raised: list[BaseException] = []
    while (innermost := cancel_status(task)) is not status:
        scope = innermost._scope  # type: ignore[attr-defined]
        scope.cancel()
        nursery = next((each for each in task.child_nurseries if each.cancel_scope is scope), None)
        if nursery is None:
            scope.__exit__(None, None, None)
        else:
            await _close_nursery(nursery, raised)
    return raised


async def close_nurseries(task: trio.lowlevel.Task) -> list[BaseException]:
    """Cancel and leave the current task's nurseries, also those torn out of their scopes.

    Returns what their tasks raised, as `close_what_is_open`.
    """
    raised: list[BaseException] = []
    while task.child_nurseries:
        await _close_nursery(task.child_nurseries[-1], raised)
    return raised


async def _close_nursery(nursery: trio.Nursery, raised: list[BaseException]) -> None:
    nursery.cancel_scope.cancel()
    # What `async with` would have done: the manager holds these two, and nothing else.
    manager: Any = trio.open_nursery()
    manager._scope = nursery.cancel_scope
    manager._nursery = nursery
    try:
        await manager.__aexit__(None, None, None)
    except trio.Cancelled:
        return
    except BaseExceptionGroup as group:
        rest = group.split(trio.Cancelled)[1]
        if rest is not None:
            raised.append(rest)
    except RuntimeError as error:
        # Trio says that its scopes were left in the wrong order.
        raised.append(error)


@contextlib.contextmanager
def deterministic_scheduling(seed: int) -> Iterator[None]:
    """For tests: let trio run the tasks that are ready in an order that `seed` decides."""
    run: Any = trio._core._run
    before, state = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r.getstate()
    run._ALLOW_DETERMINISTIC_SCHEDULING = True
    run._r.seed(seed)
    try:
        yield
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING = before
        run._r.setstate(state)


def somebody_waits_for_idle() -> bool:
    """Whether a task waits for all others to be blocked; True if trio no longer says so."""
    context = getattr(getattr(trio._core, "_run", None), "GLOBAL_RUN_CONTEXT", None)
    waiting = getattr(getattr(context, "runner", None), "waiting_for_idle", None)
    return waiting is None or len(waiting) > 0
