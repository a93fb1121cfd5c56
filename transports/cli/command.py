"""The command line itself: options, arguments, and which way to run a target."""

import difflib
import importlib
import os
import sys
from typing import Any, Final

import click

from transports.cli import running
from transports.cli.target import Kind, find_target

LATER: Final = {"simulate": ("transports.testing.command", "simulate_command")}
"""Commands for developers, which are loaded when they are asked for, and not before."""


class Commands(click.Group):
    """The commands of this module, and those of LATER."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted([*super().list_commands(ctx), *LATER])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        if cmd_name not in LATER:
            return super().get_command(ctx, cmd_name)
        _look_here()
        module, name = LATER[cmd_name]
        command: Any = getattr(importlib.import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As any group's, and say which command may have been meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near or "Did you mean" in error.message:
                raise
            text = f"{error.message} Did you mean {near[0]!r}?"
            raise click.UsageError(text, error.ctx) from None


def _look_here() -> None:
    """Let modules of the current folder be found first."""
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trouper", message="%(prog)s %(version)s")
def main() -> None:
    """Trouper: actors for Python on trio."""


# Everything after TARGET belongs to the target, also options such as --help.
@main.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="",
)
@click.argument("target", metavar="MODULE[:name]")
@click.argument("args", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
def run(target: str, args: tuple[str, ...]) -> None:
    """Import MODULE, with the current folder on the path, and run what is called name in it.

    The name is "main" unless it is given. It may be a click command, which gets ARGS as its command
    line; an async function, which is called with ARGS as strings; or an Actor class, which is
    started with ARGS as the only top-level actor, and runs until it stops or until Ctrl-C (a second
    Ctrl-C does not wait for it).

    \b
    trouper run examples.code_index --help
    trouper run examples.code_index /path/to/a/folder --workers 8
    """
    _look_here()
    found = find_target(target)
    match found.kind:
        case Kind.COMMAND:
            running.run_command(found, args)
        case Kind.FUNCTION:
            running.run_function(found, args)
        case Kind.ACTOR:
            running.run_actor(found, args)
