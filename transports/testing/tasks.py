"""Holding tasks: those of a node that stands still, is gone, or whose turn it is not.

Each task of a node is spawned with a coroutine that stands before its own. It takes every step
that trio makes, and passes it on, or keeps it for later. So a node that crashes runs nothing more,
no `finally` either, which is what `kill -9` does; a cancelled one would still talk.
"""

from __future__ import annotations

from collections.abc import Coroutine
from math import inf
from types import CodeType, FrameType
from typing import Any, Protocol

import trio


class Group:
    """The tasks of one incarnation of a node.

    held: none of them may take a step now. released_at: when they could go on last, in virtual
    seconds.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.held = False
        self.released_at = -inf
        self._kept: dict[trio.lowlevel.Task, None] = {}

    def hold(self) -> None:
        """Let none of its tasks take another step."""
        self.held = True

    def release(self) -> None:
        """Let them go on, with what has come for them meanwhile."""
        self.held = False
        self.released_at = trio.current_time()
        kept, self._kept = self._kept, {}
        for task in kept:
            trio.lowlevel.reschedule(task)

    def keep(self, task: trio.lowlevel.Task) -> None:
        """A task has come that is held."""
        self._kept[task] = None


class Scheduler(Protocol):
    """Whose turn it is, of the tasks that could go on."""

    def spawned(self, task: trio.lowlevel.Task) -> None:
        """There is a new task."""

    def scheduled(self, task: trio.lowlevel.Task) -> None:
        """A task could go on."""

    def may_step(self, task: trio.lowlevel.Task) -> bool:
        """Whether it may do so now; if not, it is asked for again in trio's next pass."""

    def stepped(self, task: trio.lowlevel.Task) -> None:
        """It has taken its step, and may wait now."""

    def exited(self, task: trio.lowlevel.Task) -> None:
        """It has ended."""


class Steps:
    """A coroutine before another one: see the module. It looks like that one to trio's tools."""

    __slots__ = ("_control", "_group", "_inner", "_kept", "_parked", "_task")

    def __init__(
        self,
        inner: Coroutine[Any, Any, Any],
        task: trio.lowlevel.Task,
        group: Group,
        control: TaskControl,
    ) -> None:
        self._inner = inner
        self._task = task
        self._group = group
        self._control = control
        self._kept: Any = None
        self._parked: Coroutine[Any, Any, Any] | None = None

    def send(self, value: Any) -> Any:
        """One step, or none yet."""
        if self._parked is not None:
            _finish(self._parked, value)
            self._parked = None
            value = self._kept
        scheduler = self._control.scheduler
        if self._group.held:
            self._group.keep(self._task)
            if scheduler is not None:
                scheduler.stepped(self._task)
            return self._park(value, trio.lowlevel.wait_task_rescheduled(_not_now))  # noqa: ASYNC105
        if scheduler is None:
            return self._inner.send(value)
        if not scheduler.may_step(self._task):
            return self._park(value, trio.lowlevel.cancel_shielded_checkpoint())  # noqa: ASYNC105
        try:
            return self._inner.send(value)
        finally:
            scheduler.stepped(self._task)

    def _park(self, value: Any, wait: Coroutine[Any, Any, Any]) -> Any:
        self._kept = value
        self._parked = wait
        return wait.send(None)

    def throw(self, error: BaseException) -> Any:
        """Trio throws only what it has found wrong in the task itself."""
        return self._inner.throw(error)

    def close(self) -> None:
        """The run is torn."""
        if self._parked is not None:
            self._parked.close()
        self._inner.close()

    @property
    def cr_frame(self) -> FrameType | None:
        return getattr(self._inner, "cr_frame", None)

    @property
    def cr_await(self) -> Any:
        return getattr(self._inner, "cr_await", None)

    @property
    def cr_code(self) -> CodeType | None:
        return getattr(self._inner, "cr_code", None)

    @property
    def cr_running(self) -> bool:
        return bool(getattr(self._inner, "cr_running", False))


def _finish(wait: Coroutine[Any, Any, Any], value: Any) -> None:
    try:
        wait.send(value)
    except StopIteration:
        return


def _not_now(_: object) -> trio.lowlevel.Abort:
    # A cancellation waits too: it is delivered once the node goes on.
    return trio.lowlevel.Abort.FAILED


class TaskControl(trio.abc.Instrument):
    """Puts `Steps` before each task of a group: those spawned by `first`, and by tasks of it.

    scheduler: whose turn it is (then it is a `ScheduledTasks`); None: trio's own order.
    """

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self.scheduler = scheduler
        self._groups: dict[trio.lowlevel.Task, Group] = {}
        self._next: Group | None = None

    def first(self, group: Group) -> None:
        """The next task that is spawned is the first one of this group."""
        self._next = group

    def left(self) -> list[str]:
        """The names of the tasks that are left, of groups that are not held."""
        return [task.name for task, group in self._groups.items() if not group.held]

    def open(self) -> None:
        """From now on all may step, in trio's own order."""
        self.scheduler = None

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        group, self._next = self._next, None
        if group is None:
            nursery = task.parent_nursery
            parent = None if nursery is None else nursery.parent_task
            if parent is trio.lowlevel.current_root_task():
                # A system task: it belongs to no nursery of a node, but to whoever spawned it.
                parent = trio.lowlevel.current_task()
            group = None if parent is None else self._groups.get(parent)
        if group is None:
            return
        self._groups[task] = group
        steps: Any = Steps(task.coro, task, group, self)
        task.coro = steps
        if self.scheduler is not None:
            self.scheduler.spawned(task)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        if self._groups.pop(task, None) is not None and self.scheduler is not None:
            self.scheduler.exited(task)


class ScheduledTasks(TaskControl):
    """With a scheduler, which hears of every task that could go on."""

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if self.scheduler is not None and task in self._groups:
            self.scheduler.scheduled(task)
