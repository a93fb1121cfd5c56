"""What the commands that talk to a running node have in common: which node, and in which form."""

from __future__ import annotations

import errno
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import attrs
import click
import msgspec
import trio
from click.shell_completion import CompletionItem

from actors import ActorError
from transports.cli.exit_codes import ExitCode, Failed, one_line_errors
from transports.control import Client, NoNodeHere, Refused, choose_place, connect, find_places
from transports.control.protocol import About, Code

POLL: Final = 0.05


@attrs.frozen
class Where:
    """Which node is meant, and how long to wait until it is ready (None: it has to be there)."""

    node: str | None
    control: str | None
    wait: float | None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        """A connection with it.

        Raises:
            NoNodeHere: it is not there, or which one is meant is not clear.
            Failed: it did not become ready in time.
        """
        if self.wait is not None:
            await self.until_ready()
        place = choose_place(self.node, self.control)
        async with connect(place) as client:
            yield client

    async def until_ready(self, peers: tuple[str, ...] = ()) -> dict[str, Any]:
        """Wait until it says that it is ready, and connected with all of `peers`; what it says.

        Raises:
            Failed: not within `wait` seconds.
            NoNodeHere: several nodes run here, and none is named.
        """
        with trio.move_on_after(self.wait or 0.0):
            return await self._ready(peers)
        which = self.node or self.control or "a node"
        more = f" and connected with {', '.join(peers)}" if peers else ""
        raise Failed(f"{which} was not ready{more} within {self.wait:g} s", ExitCode.TIMEOUT)

    async def _ready(self, peers: tuple[str, ...]) -> dict[str, Any]:
        while True:
            try:
                async with connect(choose_place(self.node, self.control)) as client:
                    about: dict[str, Any] = await client.end(About())
                connected = [
                    each["name"] for each in about["peers"] if each["state"] == "connected"
                ]
                if about["ready"] and all(peer in connected for peer in peers):
                    return about
            except NoNodeHere:
                if self.node is None and self.control is None and len(find_places()) > 1:
                    raise
            except Refused as refused:
                # It may say nothing for a while, as when it imports much.
                if refused.code != Code.TIMEOUT:
                    raise
            await trio.sleep(POLL)


def _complete_node(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [CompletionItem(each.name) for each in find_places() if each.name.startswith(incomplete)]


def one_node(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options --node and --control."""
    node = click.option(
        "--node",
        metavar="NAME",
        shell_complete=_complete_node,
        help="The node; if only one runs here, it need not be named.",
    )
    control = click.option("--control", metavar="PATH", help="The path of its control socket.")
    wrapped: Callable[..., Any] = node(control(function))
    return wrapped


def node_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options --node, --control and --wait, given to the function as `where`."""

    @one_node
    @click.option(
        "--wait",
        type=click.FloatRange(0),
        metavar="SECONDS",
        help="Wait so long until it is there and ready.",
    )
    @functools.wraps(function)
    def command(
        *args: Any, node: str | None, control: str | None, wait: float | None, **kwargs: Any
    ) -> Any:
        return function(*args, where=Where(node, control, wait), **kwargs)

    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def run_client(main: Callable[..., Awaitable[None]], *args: Any, follows: bool = False) -> None:
    """Run a command's coroutine; its errors become one line and an exit code.

    follows: it goes on until Ctrl-C, which is then its good end.

    Raises:
        Failed: what it came to, if to no good.
    """
    with one_line_errors():
        try:
            with _one_line_if_full():
                trio.run(functools.partial(main, *args))
        except* KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
    if interrupted and not follows:
        raise click.exceptions.Exit(int(ExitCode.INTERRUPTED))


@contextmanager
def _one_line_if_full() -> Iterator[None]:
    """Where what a command prints cannot be written."""
    try:
        yield
    except ActorError:
        raise
    except OSError as error:
        # A pipe that nobody reads any more is click's business.
        if error.errno == errno.EPIPE:
            raise
        text = f"what it prints cannot be written: {error.strerror}"
        raise Failed(text, ExitCode.FAILED) from error


def print_json(value: Any) -> None:
    """One line of JSON."""
    click.echo(msgspec.json.encode(value))
