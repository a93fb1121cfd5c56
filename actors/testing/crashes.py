"""Failing an actor at every step of an application, one step a run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from typing import Any, Literal, TypeVar

import attrs
import trio

from actors._trio_private import deterministic_scheduling
from actors.actor import Actor, is_async
from actors.context import Context
from actors.env import Env
from actors.errors import brief
from actors.system import ActorSystem
from actors.testing.clock import VirtualClock

T = TypeVar("T")
Sort = Literal["message", "reply", "checkpoint"]
SORTS: tuple[Sort, ...] = ("message", "reply", "checkpoint")
HOOKS = ("started", "stopped", "restarting")


class InjectedCrash(Exception):
    """What an actor fails of, at the step that `crash_every_step` has come to."""


class NotSurvived(AssertionError):
    """The application does not survive a crash at one step.

    Attributes: `sort` and `number` of the step (None and 0: it fails without any crash); `where`:
    in words; `cause`: what broke.
    """

    def __init__(self, sort: Sort | None, number: int, where: str, cause: BaseException) -> None:
        self.sort = sort
        self.number = number
        self.where = where
        self.cause = cause
        again = "" if sort is None else f"; this step alone: only=({sort!r}, {number})"
        super().__init__(f"{where}: {type(cause).__name__}: {cause}{again}")


@attrs.frozen
class Survived:
    """How many steps there were at which the application survived a crash.

    messages: before a handler; replies: when it has ended, before its reply; checkpoints: as a
    handler or hook goes on after one.
    """

    messages: int
    replies: int
    checkpoints: int


def crash_every_step(
    app: Callable[[Env], Awaitable[T]],
    *actors: type[Actor],
    invariant: Callable[[T], object] | None = None,
    seed: int = 0,
    only: tuple[Sort, int] | None = None,
    most_task_steps: int = 1_000_000,
) -> Survived:
    """Run an application again and again, each time with one crash, until every step had its crash.

    app: an async function that takes the Env for its systems: `ActorSystem(name, env=env)`. It may
        assert what must hold; what it returns is given to `invariant`, which may assert or
        return False.
    actors: the classes whose instances fail: at the first message that any of them takes, before
        its handler runs; at the second; ...; when the first handler has ended, before its reply;
        ...; as a handler, `started()`, `stopped()` or `restarting()` goes on after its first
        checkpoint; .... Each run has one crash only.
    only: run just this step.
    most_task_steps: a run that takes more of trio's steps is taken for one that does not end, and
        is cancelled; after as many again it is torn, and leaves its coroutines to the collector.

    Each run has virtual time, trio's tasks in an order that `seed` decides, and the deadlock
    oracle. So it can be repeated. It is a plain function, for a plain test: it calls `trio.run`.

    Raises:
        NotSurvived: the first step at which the application raised, hung, broke the invariant, or
            lost a message (a ledger's `missing`).
        ValueError, TypeError: no class was given, or something that is no Actor class.
    """
    if not actors:
        raise ValueError("crash_every_step(app, ActorClass, ...): which actors are to fail?")
    for cls in actors:
        if not issubclass(cls, Actor):
            raise TypeError(f"crash_every_step fails Actor classes, and {cls!r} is none")

    def run(sort: Sort | None, number: int) -> bool:
        crash = _Crash(sort, number)
        with _injected(crash, actors):
            _run_once(app, invariant, crash, seed, most_task_steps)
        return crash.where is not None

    run(None, 0)
    if only is not None:
        sort, number = only
        if not run(sort, number):
            raise ValueError(f"there is no {sort} number {number} in this application")
        return Survived(*(int(each == sort) for each in SORTS))
    counts = []
    for sort in SORTS:
        number = 1
        while run(sort, number):
            number += 1
        counts.append(number - 1)
    return Survived(*counts)


class _Crash:
    """One crash to come: counts steps, and raises at the one."""

    def __init__(self, sort: Sort | None, number: int) -> None:
        self.sort = sort
        self.number = number
        self.counts: dict[Sort, int] = dict.fromkeys(SORTS, 0)
        self.where: str | None = None
        self._inside: set[int] = set()

    @contextlib.contextmanager
    def entered(self, actor: Actor) -> Iterator[bool]:
        """Whether a handler or hook that begins is the outermost one: only that has steps.

        One that is called by another (`super().receive(m)`, `self.receive(m)` from a handler that
        was become) is a part of it, and the actor has one message in hand.
        """
        outermost = id(actor) not in self._inside
        if outermost:
            self._inside.add(id(actor))
        try:
            yield outermost
        finally:
            if outermost:
                self._inside.discard(id(actor))

    def step(self, sort: Sort, actor: Actor, method: str, message: object) -> None:
        if self.where is not None:
            return
        self.counts[sort] += 1
        if sort != self.sort or self.counts[sort] != self.number:
            return
        ref = actor.context.ref
        when = {"message": "before", "reply": "at the end of", "checkpoint": "at a checkpoint in"}
        handling = "" if method in HOOKS else f" handling {brief(message, 80)}"
        self.where = (
            f"crash at {sort} {self.number}, {when[sort]} {method}() of {ref} "
            f"(incarnation {actor.context.incarnation}){handling}"
        )
        raise InjectedCrash(self.where)


class _Stepped:
    """Awaits a coroutine, and may fail it as it goes on after a checkpoint.

    Not at the checkpoint itself: trio's own data knows of a task that waits, until it has woken it.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], at: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._at = at

    def __await__(self) -> Generator[Any, Any, Any]:
        resume: Callable[[], Any] = functools.partial(self._coroutine.send, None)
        while True:
            try:
                trap = resume()
            except StopIteration as stop:
                return stop.value
            try:
                value = yield trap
                self._at()
            except BaseException as error:
                resume = functools.partial(self._coroutine.throw, error)
            else:
                resume = functools.partial(self._coroutine.send, value)


@contextlib.contextmanager
def _injected(crash: _Crash, classes: Sequence[type[Actor]]) -> Iterator[None]:
    """Wrap the handlers and hooks of these classes for a while."""
    before = [
        (cls, name, cls.__dict__.get(name), getattr(cls, name))
        for cls in dict.fromkeys(classes)
        for name in ("receive", *HOOKS)
    ]
    become = Context.become

    def become_wrapped(self: Context, handler: Callable[[Any], Any]) -> None:
        actor = self._cell._actor
        if actor is not None and isinstance(actor, tuple(classes)):
            name = getattr(handler, "__name__", "handler")
            wrapped = _wrapped_handler(crash, lambda _, message: handler(message), name, handler)
            become(self, functools.partial(wrapped, actor))
        else:
            become(self, handler)

    try:
        for cls, name, _, original in before:
            if name == "receive":
                setattr(cls, name, _wrapped_handler(crash, original, name, original))
            elif original is not getattr(Actor, name):
                setattr(cls, name, _wrapped_hook(crash, original, name))
        Context.become = become_wrapped  # type: ignore[method-assign]
        yield
    finally:
        Context.become = become  # type: ignore[method-assign]
        for cls, name, own, _ in before:
            if own is not None:
                setattr(cls, name, own)
            elif name in cls.__dict__:
                delattr(cls, name)


def _wrapped_handler(
    crash: _Crash, handler: Callable[..., Any], name: str, like: Callable[..., Any]
) -> Callable[..., Any]:
    if is_async(like):

        async def handle(self: Actor, message: Any) -> Any:
            with crash.entered(self) as outermost:
                if not outermost:
                    return await handler(self, message)
                crash.step("message", self, name, message)
                at = functools.partial(crash.step, "checkpoint", self, name, message)
                result = await _Stepped(handler(self, message), at)
                crash.step("reply", self, name, message)
                return result

        return handle

    def handle_plain(self: Actor, message: Any) -> Any:
        with crash.entered(self) as outermost:
            if not outermost:
                return handler(self, message)
            crash.step("message", self, name, message)
            result = handler(self, message)
            crash.step("reply", self, name, message)
            return result

    return handle_plain


def _wrapped_hook(crash: _Crash, hook: Callable[..., Any], name: str) -> Callable[..., Any]:
    async def run(self: Actor, *args: Any) -> None:
        with crash.entered(self) as outermost:
            if not outermost:
                await hook(self, *args)
                return
            at = functools.partial(crash.step, "checkpoint", self, name, None)
            await _Stepped(hook(self, *args), at)

    return run


class _StepLimit(trio.abc.Instrument):
    """Cancels a run that takes too many steps; one that takes as many again is torn."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self.scope = trio.CancelScope()

    @property
    def torn(self) -> bool:
        return self.taken >= 2 * self.most

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += 1
        if self.taken == self.most:
            self.scope.cancel()


class _LimitedClock(VirtualClock):
    """Ends a run whose tasks go on and on although it was cancelled."""

    def __init__(self, limit: _StepLimit) -> None:
        super().__init__()
        self._limit = limit

    def current_time(self) -> float:
        # What an instrument raises is only logged. Trio reads the clock in each pass of its loop,
        # also where it never has to ask how long to sleep.
        if self._limit.torn:
            raise TimeoutError(
                f"it did not end within {self._limit.most:,} steps of its tasks, "
                "nor within as many again when it was cancelled"
            )
        return super().current_time()


def _run_once(
    app: Callable[[Env], Awaitable[T]],
    invariant: Callable[[T], object] | None,
    crash: _Crash,
    seed: int,
    most_task_steps: int,
) -> None:
    limit = _StepLimit(most_task_steps)

    async def main() -> T:
        with limit.scope:
            return await app(Env(seed, slice_messages=100))
        raise TimeoutError(f"it did not end within {most_task_steps:,} steps of its tasks")

    try:
        with deterministic_scheduling(seed), _recorded_systems() as systems:
            value = trio.run(main, clock=_LimitedClock(limit), instruments=[limit])
        for system in systems:
            missing = system.ledger.missing
            assert missing == 0, f"{missing} messages of {system} are missing: {system.ledger}"
        if invariant is not None:
            held = invariant(value)
            assert held is not False, f"the invariant does not hold of {brief(value)}"
    except Exception as error:
        where = crash.where or "without any crash"
        sort = None if crash.where is None else crash.sort
        cause: BaseException = error
        if isinstance(error, trio.TrioInternalError) and error.__cause__ is not None:
            # The clock has torn the run: it does not end, and hangs or goes on when cancelled.
            cause = error.__cause__
        raise NotSurvived(sort, crash.number, where, cause) from error


@contextlib.contextmanager
def _recorded_systems() -> Iterator[list[ActorSystem]]:
    """The systems that are made meanwhile."""
    systems: list[ActorSystem] = []
    init = ActorSystem.__init__

    def recorded(self: ActorSystem, *args: Any, **keywords: Any) -> None:
        init(self, *args, **keywords)
        systems.append(self)

    ActorSystem.__init__ = recorded  # type: ignore[method-assign]
    try:
        yield systems
    finally:
        ActorSystem.__init__ = init  # type: ignore[method-assign]
