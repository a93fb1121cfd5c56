"""The one private name of trio that the runtime uses. A canary test fails if trio changes it.

Without it (see `is_bound`) everything still works: asks between actors just wait on trio tasks.
"""

from __future__ import annotations

import trio


def is_bound(task: trio.lowlevel.Task, scope: trio.CancelScope) -> bool:
    """Whether code of `task` has entered a cancel scope or nursery inside `scope` and not left it.

    A coroutine that has is tied to its task: trio keeps the scopes on the task, and only that
    task can leave them. True if trio no longer has the name, which is always safe.
    """
    status = getattr(task, "_cancel_status", None)
    return status is None or status is not getattr(scope, "_cancel_status", None)
