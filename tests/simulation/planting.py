"""How a bug is planted: some attributes of classes and modules are replaced for a while."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import attrs

from transports.testing.faults import Faults
from transports.testing.schedulers import Kind
from transports.testing.simulate import Recipe

Change = tuple[Any, str, Any]
"""The owner, the name of its attribute, and what is there while the bug is planted."""


@attrs.frozen
class Bug:
    """One bug. what: in words. application: that meets it. scheduler, faults: that find it."""

    name: str
    what: str
    application: Recipe
    changes: Callable[[], Iterable[Change]]
    scheduler: Kind
    faults: Faults


BUGS: dict[str, Bug] = {}
"""All bugs, by name."""

Changes = Callable[[], Iterable[Change]]


def bug(
    application: Recipe, scheduler: Kind = "fair", faults: Faults | None = None, **rates: float
) -> Callable[[Changes], Changes]:
    """Register a bug: its name is the function's, and what it is, its docstring.

    faults: that find it; or rates: that are not those of `Faults()`.
    """

    def register(changes: Changes) -> Changes:
        name = changes.__name__.replace("_", "-")
        what = " ".join((inspect.getdoc(changes) or "").split())
        BUGS[name] = Bug(name, what, application, changes, scheduler, faults or Faults(**rates))
        return changes

    return register


@contextlib.contextmanager
def planted(name: str) -> Iterator[Bug]:
    """Plant a bug, as long as the context lasts.

    Raises:
        KeyError: there is none of that name.
    """
    found = BUGS[name]
    with contextlib.ExitStack() as stack:
        for owner, attribute, replacement in found.changes():
            stack.enter_context(mock.patch.object(owner, attribute, replacement))
        yield found
