"""What a worker process is told when it starts: one line of JSON on its standard input. No I/O."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable
from typing import Any, Final

import attrs

from actors import Actor, NotAnActor
from actors.actor import actor_class
from transports.nodes.limits import Limits

FOLDER_VARIABLE: Final = "TROUPER_SOCKETS"
"""The environment variable with the folder of the sockets, for a process that is told no more."""


@attrs.frozen
class Settings:
    """node, parent: names. folder: of the sockets. sockets: the file of each node in it.

    actors: import paths, MODULE:CLASS. modules: to import. path: `sys.path`. levels: of loggers.
    limits: of the node. grace: seconds to end in good order. engine: what the node is made with if
    it joins over an engine, and not over a socket in the folder.
    """

    node: str
    parent: str
    folder: str
    sockets: dict[str, str]
    secret: str = attrs.field(repr=False)
    actors: list[str]
    modules: list[str]
    path: list[str]
    levels: dict[str, int]
    limits: dict[str, Any]
    grace: float
    engine: dict[str, Any] | None = attrs.field(default=None, repr=False)

    def encode(self) -> bytes:
        """One line."""
        return json.dumps(attrs.asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Settings:
        """Of a line that the parent has written: it is not checked further."""
        return cls(**json.loads(line))

    @property
    def node_limits(self) -> Limits:
        """The limits of the node."""
        return Limits(**self.limits)


def import_path(cls: type[Actor]) -> str:
    """MODULE:CLASS, by which another process can import it.

    Raises:
        ValueError: none can.
    """
    module, name = cls.__module__, cls.__qualname__
    if module == "__main__":
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        if spec is None:
            raise ValueError(
                f"{name} is defined in the script that is run, which worker processes cannot "
                "import: move it to a module of its own"
            )
        module = spec.name
    if "<locals>" in name:
        raise ValueError(
            f"{module}.{name} is defined in a function: worker processes can import what is "
            "defined in a module"
        )
    return f"{module}:{name}"


def import_actors(paths: Iterable[str]) -> list[type[Actor]]:
    """The classes of import paths.

    Raises:
        ImportError, AttributeError: there is no such module, or no such name in it.
        NotAnActor: it is none.
    """
    found = []
    for path in paths:
        module, _, name = path.partition(":")
        value: Any = importlib.import_module(module)
        for word in name.split("."):
            value = getattr(value, word)
        if not isinstance(value, type):
            raise NotAnActor(value, f"{path} is no class")
        found.append(actor_class(value))
    return found
