"""A supervisor with a static list of children."""

from __future__ import annotations

from collections.abc import Iterable

from supervision.base import BaseSupervisor
from supervision.child import ChildSpec


class Supervisor(BaseSupervisor):
    """Starts its children in order, restarts those that fail, and stops them in reverse order.

        class Bank(Supervisor):
            strategy = OneForOne(max_restarts=5, within=60.0)

            def children(self):
                return [child(Account, 100, name="savings"), child(Account, name="checking")]

    It has started when its last child has; then its own `started()` runs. If a child's start
    fails, so does the supervisor's (the children that had started are stopped).

    See BaseSupervisor for `strategy`, `auto_shutdown`, and the methods and messages.
    """

    def children(self) -> Iterable[ChildSpec]:
        """The children, in order of start: made by `child(...)`. Called once an incarnation.

        Raises:
            TypeError: the subclass does not define it.
        """
        raise TypeError(
            f"{type(self).__name__} has no children(): define `def children(self)`, which returns "
            "a list of child(...)"
        )

    def _first_children(self) -> dict[str, ChildSpec]:
        specs: dict[str, ChildSpec] = {}
        specified = self.children()
        if not isinstance(specified, Iterable):
            raise TypeError(
                f"{type(self).__name__}.children() returns a list of child(...), not {specified!r}"
            )
        for spec in specified:
            if not isinstance(spec, ChildSpec):
                raise TypeError(
                    f"{type(self).__name__}.children() returns child(...), not {spec!r}"
                )
            if spec.own_name in specs:
                raise ValueError(
                    f"{type(self).__name__}.children() has two called {spec.own_name!r}: "
                    "give one of them name=..."
                )
            if spec.significant and self.auto_shutdown == "never":
                raise ValueError(
                    f"{spec.own_name!r} is significant, but {type(self).__name__}.auto_shutdown "
                    'is "never": make it "any_significant" or "all_significant"'
                )
            specs[spec.own_name] = spec
        return specs
