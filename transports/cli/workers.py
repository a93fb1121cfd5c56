"""`trouper run --workers N`: worker processes beside the target's node."""

from __future__ import annotations

import functools
import importlib
import inspect

import click

from actors import Actor, ActorSystem
from supervision.processes import WorkerProcesses
from transports.cli.target import Target


async def start_workers(system: ActorSystem, count: int, target: Target) -> None:
    """Start so many worker processes, which take the actors that the target's module allows.

    Raises:
        click.ClickException: the module has none.
    """
    actors = spawnable_actors(target.module_name)
    if not actors:
        raise click.ClickException(
            f"--workers: {target.module_name!r} has no actor class for them: "
            "define one, or say `spawnable = [...]`"
        )
    recipe = functools.partial(WorkerProcesses, count, actors=actors, modules=[target.module_name])
    await system.start(recipe, name="workers")


def spawnable_actors(module_name: str) -> list[type[Actor]]:
    """The actor classes that workers may run for a module.

    That is what it calls `spawnable`, or else all that it defines itself.
    """
    module = importlib.import_module(module_name)
    given = getattr(module, "spawnable", None)
    if given is not None:
        return list(given)
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Actor) and value.__module__ == module_name
    ]
