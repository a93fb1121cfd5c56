"""`trouper tree` and `trouper top`: the actors of a node, and of those it is connected with."""

from __future__ import annotations

import sys
from typing import Any, Final

import attrs
import click
import trio
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from transports.cli.options import Where, json_option, node_options, print_json, run_client
from transports.control import Client, protocol

SETTLE: Final = 1.0
"""Seconds to look before the first figures, so that there are rates and ages."""

SORTS: Final = ("depth", "rate", "age", "restarts", "address")


@attrs.define
class NodeView:
    """A node and its actors, as it says. left_off: actors that are not here."""

    report: dict[str, Any]
    actors: list[dict[str, Any]] = attrs.field(factory=list)
    left_off: int = 0


@attrs.define
class View:
    """All nodes that answered, the one that was asked first; and those that did not."""

    nodes: dict[str, NodeView] = attrs.field(factory=dict)
    unreachable: dict[str, str] = attrs.field(factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The same for scripts."""
        return {
            "nodes": [
                {**each.report, "left_off": each.left_off, "tree": each.actors}
                for each in self.nodes.values()
            ],
            "unreachable": [{"node": name, "why": why} for name, why in self.unreachable.items()],
        }


async def look(client: Client, request: protocol.Tree) -> View:
    """What there is now."""
    view = View()
    async for each in client.items(request):
        if "actor" in each:
            view.nodes[each["node"]].actors.append(each["actor"])
        elif "left_off" in each:
            view.nodes[each["node"]].left_off = each["left_off"]
        elif "unreachable" in each:
            view.unreachable[each["unreachable"]] = each["why"]
        else:
            view.nodes[each["node"]["node"]] = NodeView(each["node"])
    return view


@click.command()
@click.option("--peers", is_flag=True, help="Those of connected nodes too.")
@node_options
@json_option
def tree(peers: bool, where: Where, as_json: bool) -> None:
    """Print the tree of actors: class, state, messages that wait, restarts."""
    request = protocol.Tree(peers=peers)

    async def main() -> None:
        async with where.connected() as client:
            view = await look(client, request)
        if as_json:
            print_json(view.as_json())
            return
        console = _console()
        for node in view.nodes.values():
            click.echo(_summary(node.report))
            console.print(draw_tree(node))
        for name, why in view.unreachable.items():
            click.echo(f"{name}: not reached: {why}")

    run_client(main)


@click.command()
@click.option("--once", is_flag=True, help="Print once, and end.")
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    metavar="SECONDS",
    help="How often to look.",
)
@click.option("--sort", default="depth", show_default=True, type=click.Choice(SORTS))
@click.option("--no-peers", is_flag=True, help="Not those of connected nodes.")
@node_options
@json_option
def top(
    once: bool, interval: float, sort: str, no_peers: bool, where: Where, as_json: bool
) -> None:
    """Watch the actors, the busiest first, until Ctrl-C: messages that wait, messages handled in a
    second, restarts, and how long the oldest message has waited.

    With --json a line for each look.
    """
    if not (once or as_json or sys.stdout.isatty()):
        raise click.UsageError("this is no terminal to draw on: use --once, or --json")
    request = protocol.Tree(observe=SETTLE, peers=not no_peers)

    async def main() -> None:
        async with where.connected() as client:
            if as_json or once:
                while True:
                    view = await look(client, request)
                    if as_json:
                        print_json(view.as_json())
                    else:
                        _console().print(draw_top(view, sort, None))
                    if once:
                        return
                    await trio.sleep(interval)
            console = _console()
            # Refreshed by hand: no thread is needed for that.
            with Live(console=console, screen=True, auto_refresh=False) as live:
                while True:
                    view = await look(client, request)
                    live.update(draw_top(view, sort, console.height), refresh=True)
                    await trio.sleep(interval)

    run_client(main, follows=not once)


def _console() -> Console:
    # Into a pipe or file there is no width to fit.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def draw_tree(node: NodeView) -> Tree:
    """A node's actors, each below its parent."""
    made = Tree("", hide_root=True)
    places: dict[str, Tree] = {}
    for actor in node.actors:
        parent, _, name = actor["address"].rpartition("/")
        places[actor["address"]] = places.get(parent, made).add(_actor(name, actor))
    if node.left_off:
        made.add(Text(f"... and {node.left_off:,} more", style="dim"))
    return made


def _actor(name: str, actor: dict[str, Any]) -> Text:
    notes = [actor["kind"], actor["state"]]
    if actor["depth"]:
        of = "" if actor["capacity"] is None else f" of {actor['capacity']:,}"
        notes.append(f"{actor['depth']:,}{of} wait")
    if actor["waiting"]:
        notes.append(f"{actor['waiting']:,} senders wait for room")
    if actor["incarnation"] > 1:
        times = actor["incarnation"] - 1
        notes.append("restarted once" if times == 1 else f"restarted {times:,} times")
    return Text(f"{name}  ").append(", ".join(notes), style="dim")


def _summary(report: dict[str, Any]) -> str:
    at = f" at {report['address']}" if report["address"] else ""
    peers = [f"{each['name']} ({each['state']})" for each in report["peers"]]
    parts = [
        f"actor://{report['node']}{at}",
        f"process {report['process']}",
        f"{report['actors']:,} actors",
        f"{report['handled']:,} handled",
        f"{report['queued']:,} queued",
        f"{report['failed']:,} failed",
        f"{report['dead']:,} dead letters",
        f"{report['restarts']:,} restarts",
    ]
    if report["missing"]:
        parts.append(f"{report['missing']:,} MISSING")
    if peers:
        parts.append(f"peers {', '.join(peers)}")
    return "  ".join(parts)


def draw_top(view: View, sort: str, height: int | None) -> Group:
    """All actors in one table, at most as many as a terminal of that height shows."""
    parts: list[Any] = [Text(_summary(node.report)) for node in view.nodes.values()]
    parts += [
        Text(f"{name}: not reached: {why}", style="dim") for name, why in view.unreachable.items()
    ]
    actors = [actor for node in view.nodes.values() for actor in node.actors]
    actors.sort(key=lambda actor: _rank(actor, sort))
    shown = actors if height is None else actors[: max(1, height - 2 * len(parts) - 3)]
    table = Table(show_edge=False, box=None, header_style="bold", padding=(0, 1))
    table.add_column("actor", overflow="fold")
    for column in ("class", "state"):
        table.add_column(column)
    for column in ("waiting", "of", "/s", "restarts", "oldest"):
        table.add_column(column, justify="right", no_wrap=True)
    for actor in shown:
        table.add_row(*_row(actor))
    left_off = len(actors) - len(shown) + sum(node.left_off for node in view.nodes.values())
    if left_off:
        parts.append(Text(f"{left_off:,} more are not shown", style="dim"))
    return Group(*parts, table)


def _rank(actor: dict[str, Any], sort: str) -> tuple[float, float, str]:
    """Where it stands: the largest first, and then by rate and address."""
    if sort == "address":
        return 0.0, 0.0, actor["address"]
    value = actor["incarnation"] if sort == "restarts" else actor[sort]
    return -(value or 0), -(actor["rate"] or 0), actor["address"]


def _row(actor: dict[str, Any]) -> tuple[Text | str, ...]:
    capacity = "-" if actor["capacity"] is None else f"{actor['capacity']:,}"
    full = actor["capacity"] is not None and actor["depth"] >= actor["capacity"]
    return (
        Text(actor["address"]),
        Text(actor["kind"]),
        Text(actor["state"], style="" if actor["state"] == "running" else "yellow"),
        Text(f"{actor['depth']:,}", style="red" if full or actor["waiting"] else ""),
        capacity,
        "" if actor["rate"] is None else f"{actor['rate']:,.0f}",
        f"{actor['incarnation'] - 1:,}",
        _age(actor),
    )


def _age(actor: dict[str, Any]) -> str:
    if actor["age"] is None:
        return ""
    return f"{'> ' if actor['at_least'] else ''}{actor['age']:.1f} s"
