"""The command line itself: options, arguments, and which way to run a target."""

import os
import sys

import click

from transports.cli import running
from transports.cli.target import Kind, find_target


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found = find_target(target)
    match found.kind:
        case Kind.COMMAND:
            running.run_command(found, args)
        case Kind.FUNCTION:
            running.run_function(found, args)
        case Kind.ACTOR:
            running.run_actor(found, args)
