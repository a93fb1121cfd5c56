"""`trouper engine`: a nats-server for a first try."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import trio

from actors import run as run_main
from transports.cli.exit_codes import ExitCode, Failed
from transports.cli.signals import stop_signals
from transports.nats.engine import Server
from transports.nats.errors import CannotStart, ServerNotFound, last_words

PORT = 4222
ANOTHER = "--port takes another one, and 0 a free one"


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=PORT,
    show_default=True,
    help="On 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where it stores; by default in a folder that is gone with it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the readiness as JSON.")
def engine(port: int, store: Path | None, as_json: bool) -> None:
    """Run a server of NATS on this machine, with JetStream, until SIGTERM or Ctrl-C.

    It is for a first try, and for development: nobody is asked who they are, and nothing but this
    machine reaches it. docs/operations.md says how to deploy a cluster.

    \b
    trouper engine                  (in a terminal of its own)
    trouper run --name shop --nats nats://127.0.0.1:4222 --cluster eu shop:main
    """
    run_main(_run, port, store, as_json)


async def _run(port: int, store: Path | None, as_json: bool) -> None:
    server = Server(port=port, store=store)
    scope = trio.CancelScope()
    with stop_signals(scope.cancel, server.kill, lambda: True), scope:
        try:
            await server.start()
        except ServerNotFound as error:
            raise Failed(str(error), ExitCode.USAGE) from error
        except CannotStart as error:
            taken = "address already in use" in str(error)
            hint = f"; is one running already? {ANOTHER}" if taken else ""
            raise Failed(f"{error}{hint}", ExitCode.TAKEN) from error
        try:
            line = f"ready: {server.url}"
            if as_json:
                ready = {"ready": server.url, "process": server.process_id}
                line = msgspec.json.encode(ready).decode()
            click.echo(line, err=True)
            while server.is_running:  # noqa: ASYNC110 # only the system knows of its end
                await trio.sleep(0.2)
            raise Failed(f"the server has ended: {last_words(server.log)}", ExitCode.FAILED)
        finally:
            with trio.CancelScope(shield=True):
                await server.stop()
            server.close()
