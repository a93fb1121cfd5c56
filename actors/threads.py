"""The system, used from plain threads: `system.from_thread`."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import trio

from actors.errors import SystemClosed, WrongThread

if TYPE_CHECKING:
    from actors.messages import Request
    from actors.ref import ActorRef
    from actors.system import ActorSystem

T = TypeVar("T")

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


def threads_at_work() -> int:
    """How many threads of trio's default limiter work now for this run."""
    return trio.to_thread.current_default_thread_limiter().borrowed_tokens


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
