"""`trouper tell`, `ask`, `publish`, `listen`, `dead-letters`, `wait`: messages from a shell."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from transports.cli.options import (
    Where,
    json_option,
    node_options,
    one_node,
    print_json,
    run_client,
)
from transports.control import protocol

MESSAGE = click.argument("message", metavar="MESSAGE-NAME")
FIELDS = click.argument("fields", metavar="[JSON]", default="{}")


def read_fields(text: str) -> msgspec.Raw:
    """The fields of a message, as one line of JSON; `-` reads them from standard input.

    Raises:
        click.UsageError: it is no JSON.
    """
    data = sys.stdin.buffer.read() if text == "-" else text.encode("utf-8", "surrogateescape")
    try:
        msgspec.json.decode(data)
        return msgspec.Raw(msgspec.json.format(data, indent=-1))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise click.UsageError(f"the fields of a message are JSON: {error}") from error


@click.command()
@click.argument("address")
@MESSAGE
@FIELDS
@node_options
@json_option
def tell(address: str, message: str, fields: str, where: Where, as_json: bool) -> None:
    """Tell an actor, topic, queue or service a message.

    The message is named as its class is registered by @message; its fields are a JSON object (-:
    from standard input). Done when it is in the mailbox, or on its way to another node.

    \b
    trouper tell actor://shop/bank/savings Deposit '{"amount": 10}'
    """
    request = protocol.Tell(address, message, read_fields(fields))

    async def main() -> None:
        async with where.connected() as client:
            await client.end(request)
        if as_json:
            print_json({"told": address})

    run_client(main)


@click.command()
@click.argument("address")
@MESSAGE
@FIELDS
@click.option(
    "--timeout",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0, protocol.LONGEST),
    metavar="SECONDS",
    help="How long to wait for the reply.",
)
@node_options
@json_option
def ask(
    address: str, message: str, fields: str, timeout: float, where: Where, as_json: bool
) -> None:
    """Ask an actor or service, and print its reply, as JSON.

    \b
    trouper ask actor://shop/bank/savings Balance
    """
    request = protocol.Ask(address, message, read_fields(fields), timeout)

    async def main() -> None:
        async with where.connected() as client:
            reply = await client.end(request)
        print_json({"reply": reply} if as_json else reply)

    run_client(main)


@click.command()
@click.argument("topic")
@MESSAGE
@FIELDS
@node_options
@json_option
def publish(topic: str, message: str, fields: str, where: Where, as_json: bool) -> None:
    """Publish a message to a topic, and say who got it.

    \b
    trouper publish orders.placed Order '{"number": 7}'
    """
    request = protocol.Publish(topic, message, read_fields(fields))

    async def main() -> None:
        async with where.connected() as client:
            published = await client.end(request)
        if as_json:
            print_json(published)
            return
        line = f"{published['queued']} of {published['matched']} subscribers here have it"
        if published["nodes"]:
            others = published["nodes"]
            line += f"; sent to {others} other node{'s' if others > 1 else ''}"
        click.echo(line)

    run_client(main)


@click.command()
@click.argument("topic")
@node_options
@json_option
def listen(topic: str, where: Where, as_json: bool) -> None:
    """Print what is published to topics of a pattern, a line of JSON each, until Ctrl-C.

    \b
    trouper listen 'orders.*'
    """
    request = protocol.Listen(topic)

    async def main() -> None:
        async with where.connected() as client:
            async for each in client.items(request):
                print_json(each)

    run_client(main, follows=True)


@click.command(name="dead-letters")
@click.option("--follow", "-f", is_flag=True, help="Go on with those to come, until Ctrl-C.")
@click.option(
    "--last",
    default=20,
    show_default=True,
    type=click.IntRange(0, 1_000),
    metavar="N",
    help="How many of the newest.",
)
@node_options
@json_option
def dead_letters(follow: bool, last: int, where: Where, as_json: bool) -> None:
    """Print the messages that nobody handled, and why: the newest, oldest first."""
    request = protocol.DeadLetters(last, follow)

    async def main() -> None:
        async with where.connected() as client:
            async for each in client.items(request):
                if as_json:
                    print_json(each)
                else:
                    click.echo(_letter(each))

    run_client(main, follows=follow)


def _letter(letter: dict[str, Any]) -> str:
    if "missed" in letter:
        return f"({letter['missed']} more, which came faster than they could be shown)"
    message = msgspec.json.encode(letter["message"]).decode()
    if isinstance(letter["message"], dict) and "name" in letter["message"]:
        fields = msgspec.json.encode(letter["message"]["fields"]).decode()
        message = f"{letter['message']['name']} {fields}"
    failures = "".join(f"\n    {each}" for each in letter["failures"])
    return f"{letter['to']}: {letter['reason']}: {message}{failures}"


@click.command()
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="NAME",
    help="And until it is connected with this node. May be given more than once.",
)
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long to wait.",
)
@one_node
@json_option
def wait(
    peers: tuple[str, ...], timeout: float, node: str | None, control: str | None, as_json: bool
) -> None:
    """Wait until a node is ready: its actor has started, or its function was called.

    \b
    trouper wait --node shop --peer cart --timeout 10
    """
    where = Where(node, control, timeout)

    async def main() -> None:
        about = await where.until_ready(peers)
        if as_json:
            print_json(about)
        else:
            at = f" at {about['address']}" if about["address"] else ""
            click.echo(f"ready: actor://{about['node']}{at}")

    run_client(main)
