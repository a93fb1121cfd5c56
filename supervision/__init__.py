"""What to do when an actor fails: strategies, restart limits and backoff.

This package is empty for now. It lands with the supervision issue: a ``Supervisor`` actor that
declares its children, one-for-one, one-for-all and rest-for-one strategies, a limit of restarts in
a window of time, and backoff between restarts. Until then a parent decides in
``Actor.child_failed``, which returns ``Restart()``, ``Resume()``, ``Stop()`` or ``Escalate()``.
"""

__all__: list[str] = []
