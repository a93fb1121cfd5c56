"""What the tests of `actors` share: actors that do as they are told, systems that are checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any

import trio

from actors import Actor, ActorRef, ActorSystem, Directive, Failure


class Checked(ActorSystem):
    """A system that, when it has been left, must have accounted for every message."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(kind, error, traceback)
        finally:
            ledger = self.ledger
            assert ledger.missing == 0, ledger
            assert (ledger.queued, ledger.in_flight) == (0, 0), ledger


class Doer(Actor):
    """Does what it is sent: a function of the actor (async or not), or a value to reply with."""

    async def receive(self, message: Any) -> Any:
        result = message(self) if callable(message) else message
        return await result if inspect.isawaitable(result) else result


class PlainDoer(Actor):
    """The same with a plain handler."""

    def receive(self, message: Any) -> Any:
        return message(self) if callable(message) else message


class Recorder(Actor):
    """Adds what it gets to a list; waits for an event; raises an exception."""

    def __init__(self, log: list[Any] | None = None) -> None:
        self.log: list[Any] = [] if log is None else log

    async def receive(self, message: Any) -> Any:
        if isinstance(message, trio.Event):
            await message.wait()
            return None
        if isinstance(message, BaseException):
            raise message
        self.log.append(message)
        return message


class PlainRecorder(Actor):
    """The same with a plain handler, which cannot wait."""

    def __init__(self, log: list[Any] | None = None) -> None:
        self.log: list[Any] = [] if log is None else log

    def receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        self.log.append(message)
        return message


class Parent(Doer):
    """Has one child called "child", and decides about its failures as told."""

    def __init__(
        self,
        child: Callable[..., Actor],
        decision: Directive | Callable[[Failure], Directive],
    ) -> None:
        self.decision = decision
        self.child = self.context.spawn(child, name="child")

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        return self.decision(failure) if callable(self.decision) else self.decision


def fail(_: Actor) -> None:
    """Sent to a Doer: fails it."""
    raise ValueError("on purpose")


def nap(seconds: float) -> Callable[[Actor], Any]:
    """Sent to a Doer: waits on trio."""
    return lambda _: trio.sleep(seconds)


def wait(event: trio.Event) -> Callable[[Actor], Any]:
    """Sent to a Doer: waits for a gate."""
    return lambda _: event.wait()


def tasks_of(task: trio.lowlevel.Task) -> list[trio.lowlevel.Task]:
    """A task and all below it."""
    return [task] + [
        each
        for nursery in task.child_nurseries
        for child in nursery.child_tasks
        for each in tasks_of(child)
    ]


def all_tasks() -> set[trio.lowlevel.Task]:
    """Every task of this run but those that trio itself starts now and then."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return set(tasks_of(root))
