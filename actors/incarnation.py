"""One life of an actor object: how it is made. A restart makes another one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from actors.context import Context

if TYPE_CHECKING:
    from actors.cell import Cell


def construct(cell: Cell) -> None:
    """Make an instance. Its context is there before its `__init__` runs."""
    cls = cell._traits.cls
    args = cell._args
    keywords: dict[str, Any] = {}
    recipe = cell._recipe
    if recipe is not cls:
        while isinstance(recipe, functools.partial):
            args = (*recipe.args, *args)
            keywords = {**recipe.keywords, **keywords}
            recipe = recipe.func
    if cls.__new__ is object.__new__:
        actor = cls.__new__(cls)
    else:
        actor = cls.__new__(cls, *args, **keywords)
    actor.context = Context(cell)
    cell._actor = actor
    try:
        actor.__init__(*args, **keywords)  # type: ignore[misc]
    except BaseException:
        cell._actor = None
        raise
    cell._dispatcher.env.constructed(actor)
