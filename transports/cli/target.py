"""From the text ``MODULE[:name]`` to the object that it names."""

import enum
import importlib
import inspect
from types import ModuleType
from typing import Any

import attrs
import click

from actors import Actor, ActorSystem

DEFAULT_NAME = "main"


class Kind(enum.Enum):
    """The three kinds of things that ``trouper run`` can run."""

    COMMAND = "a click command"
    FUNCTION = "an async function"
    ACTOR = "an Actor class"


@attrs.frozen
class Target:
    """What was asked for: the text it was asked by, the object, and its kind."""

    text: str
    value: Any
    kind: Kind

    @property
    def takes_system(self) -> bool:
        """Whether it is a function whose first parameter is the actor system."""
        return self.kind is Kind.FUNCTION and _takes_system(self.value)

    @property
    def says_ready(self) -> bool:
        """Whether it says when it is ready, by trio's `task_status`."""
        return self.takes_system and "task_status" in inspect.signature(self.value).parameters

    @property
    def short_name(self) -> str:
        """The last word of the module's name, for people and for addresses."""
        return self.module_name.rpartition(".")[2]

    @property
    def module_name(self) -> str:
        """The module's name, with dots."""
        return self.text.partition(":")[0]


def find_target(text: str) -> Target:
    """Import the module in ``MODULE[:name]`` and return what is called name (default: ``main``).

    Raises:
        click.ClickException: in one line, when the text is not of that form, when there is no such
            module or no such name, or when the thing cannot be run.

    Whatever the module raises while it is imported passes through, with its traceback.
    """
    module_name, colon, name = text.partition(":")
    if colon and not name:
        raise click.ClickException(f"nothing is named after the colon of {text!r}")
    name = name or DEFAULT_NAME
    if module_name.endswith(".py") and module_name[:-3].isidentifier():
        raise click.ClickException(
            f"{module_name!r} is a file; name the module: {text.replace('.py', '', 1)}"
        )
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise click.ClickException(
            f"{module_name!r} is not the name of a module; write it with dots, "
            f"as in package.module:name"
        )
    module = _import(module_name)
    if not hasattr(module, name):
        known = [each for each, value in vars(module).items() if _is_own(module, each, value)]
        hint = f"; it has {', '.join(known)}" if known else ""
        raise click.ClickException(f"module {module_name!r} has no {name!r}{hint}")
    value = getattr(module, name)
    kind = _kind_of(value)
    if kind is None:
        kinds = ", ".join(each.value for each in Kind)
        raise click.ClickException(
            f"{module_name}:{name} is {_describe(value)}; it can be one of: {kinds}"
        )
    return Target(text, value, kind)


def _import(module_name: str) -> ModuleType:
    """Import a module; when it is the module itself that is missing, say so in one line."""
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # The module may exist and import something else that is missing. That is a defect in it,
        # and its traceback is the right answer.
        itself_or_a_parent = error.name is not None and f"{module_name}.".startswith(
            f"{error.name}."
        )
        if not itself_or_a_parent:
            raise
        raise click.ClickException(
            f"no module named {error.name!r} here or among the installed packages"
        ) from None


def _kind_of(value: object) -> Kind | None:
    if isinstance(value, click.Command):
        return Kind.COMMAND
    if inspect.iscoroutinefunction(value):
        return Kind.FUNCTION
    if isinstance(value, type) and issubclass(value, Actor) and value is not Actor:
        return Kind.ACTOR
    return None


def _takes_system(function: Any) -> bool:
    """Whether its first parameter is called `system`, or is annotated as an ActorSystem."""
    parameter = next(iter(inspect.signature(function).parameters.values()), None)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if parameter is None or parameter.kind not in positional:
        return False
    annotation = parameter.annotation
    if isinstance(annotation, str):
        # It need not be known to the module at run time.
        return parameter.name == "system" or annotation.rpartition(".")[2] == "ActorSystem"
    return parameter.name == "system" or annotation is ActorSystem


def _is_own(module: ModuleType, name: str, value: object) -> bool:
    """Whether it is something to run that this module defines and does not merely import."""
    if name.startswith("_") or _kind_of(value) is None:
        return False
    callback = value.callback if isinstance(value, click.Command) else value
    return getattr(callback, "__module__", None) == module.__name__


def _describe(value: object) -> str:
    if value is Actor:
        return "the base class Actor"
    if isinstance(value, type):
        return "a class that is no Actor"
    if inspect.isfunction(value):
        return "a function that is not async"
    return f"a value of type {type(value).__name__}"
