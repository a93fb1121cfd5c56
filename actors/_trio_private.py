"""The one private name of trio that the runtime uses. A canary test fails if trio changes it.

Without it (see `cancel_status`) everything still works: asks between actors just wait on tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

import trio


def _unknown(_: object) -> object:
    return object()


cancel_status: Callable[[trio.lowlevel.Task | trio.CancelScope | None], object] = (
    attrgetter("_cancel_status") if hasattr(trio.lowlevel.Task, "_cancel_status") else _unknown
)
"""The innermost scope that a task is in, or what a scope is known by: compared by identity.

Code of a task that is in another scope than the worker's own has entered a cancel scope or a
nursery and not left it. It is then tied to its task: trio keeps scopes on the task, and only
that task can leave them. A new object each time if trio no longer has the name, so that every
comparison says "tied", which is always safe.
"""
