"""The command line itself: which commands there are, and `run`."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from transports.cli import running
from transports.cli.node import NodeOptions
from transports.cli.signals import ended_by_signals, interrupted_by_signals
from transports.cli.target import Kind, find_target
from transports.nodes.limits import Limits

ELSEWHERE: Final = {
    "ask": ("transports.cli.messages", "ask"),
    "dead-letters": ("transports.cli.messages", "dead_letters"),
    "engine": ("transports.cli.engine", "engine"),
    "listen": ("transports.cli.messages", "listen"),
    "publish": ("transports.cli.messages", "publish"),
    "simulate": ("transports.testing.command", "simulate_command"),
    "tell": ("transports.cli.messages", "tell"),
    "top": ("transports.cli.tree", "top"),
    "tree": ("transports.cli.tree", "tree"),
    "wait": ("transports.cli.messages", "wait"),
}
"""Commands that are loaded when they are asked for, and not before."""


class Commands(click.Group):
    """The commands of this module, and those that are ELSEWHERE."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        _look_here()
        module, name = ELSEWHERE[cmd_name]
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


FILE: Final = click.Path(dir_okay=False, path_type=Path)


# Everything after TARGET belongs to the target, also options such as --help.
@main.command(context_settings={"allow_interspersed_args": False})
@click.option("--name", metavar="NAME", help="What the node is called; the module's last word.")
@click.option(
    "--listen", metavar="ADDRESS", help="Where others call it: host:port, or a path with a /."
)
@click.option(
    "--join", multiple=True, metavar="ADDRESS", help="Another node. May be given more than once."
)
@click.option(
    "--nats", multiple=True, metavar="URL", help="A server of NATS, by which the nodes meet."
)
@click.option("--cluster", metavar="NAME", help="With --nats: of the cluster to be a node of.")
@click.option("--credentials", type=FILE, help="With --nats: a .creds file.")
@click.option(
    "--exposed",
    multiple=True,
    metavar="ADDRESS",
    help="With --nats: a topic, queue or service that other programs may use.",
)
@click.option(
    "--durable",
    multiple=True,
    metavar="ADDRESS",
    help="With --nats: a queue whose messages the engine keeps.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 5),
    metavar="N",
    help="With --nats: of what the engine stores, where this node makes it; 1.",
)
@click.option(
    "--ttl",
    type=click.FloatRange(1, 86_400),
    metavar="SECONDS",
    help="With --nats: after which a node that has gone without a word is called no more; 10.",
)
@click.option("--workers", type=click.IntRange(1, 256), metavar="N", help="Worker processes.")
@click.option("--secret-file", type=FILE, help="What all nodes know, and nobody else.")
@click.option("--tls-cert", type=FILE, help="The certificate of this node.")
@click.option("--tls-key", type=FILE, help="Its key.")
@click.option("--tls-ca", type=FILE, help="Who has signed the certificates of all nodes.")
@click.option(
    "--lost-after",
    type=click.FloatRange(0, 86_400, min_open=True),
    metavar="SECONDS",
    help=f"How long another node may be out of reach until it is lost; {Limits().lost_after:g}.",
)
@click.option("--history", type=FILE, help="Record asks and sends there, as lines of JSON.")
@click.option("--control", type=FILE, help="The path of the control socket.")
@click.option(
    "--grace",
    type=click.FloatRange(0, 86_400),
    metavar="SECONDS",
    help=f"For an end in good order, after SIGTERM or Ctrl-C; {running.GRACE:g}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the readiness as JSON.")
@click.argument("target", metavar="MODULE[:name]")
@click.argument("args", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
def run(target: str, args: tuple[str, ...], **options: Any) -> None:
    """Import MODULE, with the current folder on the path, and run what is called name in it.

    The name is "main" unless it is given. It may be a click command, which gets ARGS as its command
    line; an async function, which is called with ARGS as strings; or an Actor class, which is
    started with ARGS as the only top-level actor, and runs until it stops.

    An Actor class runs in a node of its own, and so does an async function whose first parameter is
    called `system` or is an ActorSystem: that is the node's. When it is ready, "ready:
    actor://NAME" is printed to stderr. SIGTERM or Ctrl-C ends it in good order, a second one at
    once. The other commands talk to it meanwhile.

    Options before MODULE are those below; what comes after it is for the target.

    \b
    trouper run examples.code_index --help
    trouper run --name shop --listen 127.0.0.1:7400 --join cart@127.0.0.1:7401 shop:main
    trouper run --name shop --nats nats://127.0.0.1:4222 --cluster eu shop:main
    """
    _look_here()
    node = NodeOptions(**options)
    with ended_by_signals():
        with interrupted_by_signals():
            found = find_target(target)
        if found.kind is Kind.ACTOR or found.takes_system:
            running.run_node(found, args, node)
            return
    if given := node.given():
        raise click.UsageError(
            f"{', '.join(given)}: {target} is {found.kind.value} that makes its own system; an "
            "Actor class, or an async function whose first parameter is `system`, runs in a node"
        )
    if found.kind is Kind.COMMAND:
        running.run_command(found, args)
    else:
        running.run_function(found, args)
