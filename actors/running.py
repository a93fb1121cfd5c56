"""A synchronous way in: `actors.run(main)`."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

T = TypeVar("T")


def run(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run `await main(*args)` on trio and return what it returns. Blocks until then.

    Raises:
        TypeError: `main` is no async function (a call of one, perhaps).
        RuntimeError: trio runs in this thread already; then just `await main(*args)`.
        BaseException: whatever `main` raised.
    """
    given: object = main
    if inspect.iscoroutine(given):
        given.close()
        raise TypeError(f"run() takes the async function, not its call: run({given.__name__}, ...)")
    if not callable(given):
        raise TypeError(f"run() takes an async function, not {given!r}")
    return trio.run(main, *args)
