"""Threads: the system used from plain ones (`system.from_thread`), and functions run in some."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import trio

from actors.errors import SystemClosed, WrongThread

if TYPE_CHECKING:
    from actors.messages import Request
    from actors.ref import ActorRef
    from actors.system import ActorSystem

log = logging.getLogger("actors")

T = TypeVar("T")

BLOCKING_THREADS: Final = 32
"""Functions that `run_blocking` runs at once, in all systems of one trio run."""

_limiter: Final = trio.lowlevel.RunVar[trio.CapacityLimiter | None]("limiter of run_blocking", None)

current_thread: Final = threading.get_ident


class FromThread:
    """tell, send and ask for threads that do not run the system. Each blocks its thread.

    All raise what the ref's own method raises, and besides:

    Raises:
        SystemClosed: the system has been left, or its trio run has ended.
        WrongThread: called from the very thread that runs the system, which must not block.
    """

    __slots__ = ("_system", "_token")

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self._token: trio.lowlevel.TrioToken | None = None

    def tell(self, ref: ActorRef, message: object) -> None:
        """`ref.tell(message)`; returns when the message is in the mailbox."""
        self._check()
        try:
            trio.from_thread.run_sync(ref.tell, message, trio_token=self._token)
        except trio.RunFinishedError:
            raise SystemClosed(self._system.name) from None

    def send(self, ref: ActorRef, message: object) -> None:
        """`await ref.send(message)`; blocks until there is room."""
        self._run(ref.send, message)

    @overload
    def ask(self, ref: ActorRef, message: Request[T], timeout: float | None = ...) -> T: ...
    @overload
    def ask(  # type: ignore[overload-cannot-match]
        self, ref: ActorRef, message: Request[object], timeout: float | None = ...
    ) -> object: ...
    @overload
    def ask(self, ref: ActorRef, message: object, timeout: float | None = ...) -> Any: ...

    def ask(self, ref: ActorRef, message: Any, timeout: float | None = 5.0) -> Any:
        """`await ref.ask(message, timeout)`; blocks until the reply comes."""
        return self._run(ref.ask, message, timeout)

    def _run(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        self._check()
        try:
            return trio.from_thread.run(function, *args, trio_token=self._token)
        except trio.RunFinishedError:
            raise SystemClosed(self._system.name) from None
        except trio.Cancelled:
            # Only the run's own end cancels what a thread waits for.
            raise SystemClosed(self._system.name) from None

    def _check(self) -> None:
        if self._token is None:
            self._system._dispatcher.check_open()
        if current_thread() == self._system._dispatcher.thread:
            raise WrongThread(self._system.name, "from_thread", inside=True)


async def run_blocking(who: object, function: Callable[..., T], args: tuple[Any, ...]) -> T:
    """See `Context.run_blocking`."""
    # Not trio's own limiter: threads that nobody waits for any more must not keep name lookups and
    # files from theirs.
    limiter = _limiter.get()
    if limiter is None:
        limiter = trio.CapacityLimiter(BLOCKING_THREADS)
        _limiter.set(limiter)
    # Only to say so in the log: a race decides nothing.
    begun = ended = False

    def run() -> T:
        nonlocal begun, ended
        begun = True
        try:
            return function(*args)
        finally:
            ended = True

    try:
        return await trio.to_thread.run_sync(
            functools.wraps(function, updated=())(run), abandon_on_cancel=True, limiter=limiter
        )
    except trio.Cancelled:
        if begun and not ended:
            log.warning("%s no longer waits for %r, which goes on in its thread", who, function)
        raise


def threads_at_work() -> int:
    """How many threads of trio's default limiter, or of `run_blocking`, work now for this run."""
    at_work = trio.to_thread.current_default_thread_limiter().borrowed_tokens
    limiter = _limiter.get()
    return at_work if limiter is None else at_work + limiter.borrowed_tokens


def start_daemon(function: Callable[[], None], name: str) -> None:
    """Run a function in a thread of its own, which does not keep the process from ending."""
    threading.Thread(target=function, name=name, daemon=True).start()


def join_main_thread(seconds: float) -> None:
    """Wait until the process's main thread has ended, for so long at the most."""
    threading.main_thread().join(seconds)


class Ticker:
    """Calls `action` each `period` real seconds, in a daemon thread of its own, until `stop`."""

    def __init__(self, period: float, action: Callable[[], None], name: str) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(period, action), name=name, daemon=True
        )
        self._thread.start()

    def _run(self, period: float, action: Callable[[], None]) -> None:
        while not self._stopped.wait(period):
            action()

    def stop(self) -> None:
        """End the thread, and return when it has ended. Twice is once."""
        self._stopped.set()
        self._thread.join()
