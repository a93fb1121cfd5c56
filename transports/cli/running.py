"""The three ways to run a target."""

import inspect
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import click
import trio

from actors import Actor, ActorRef, ActorSystem
from actors import run as run_main
from transports.cli.target import Target

EXIT_INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def run_command(target: Target, args: tuple[str, ...]) -> None:
    """Hand over to a click command; it exits the process as click commands do."""
    command: click.Command = target.value
    command.main(args=list(args), prog_name=f"trouper run {target.text}")


def run_function(target: Target, args: tuple[str, ...]) -> None:
    """Call an async function with the arguments, under trio.

    Raises:
        click.UsageError: when the function does not accept that many arguments.
    """
    _check_arguments(target, args)
    run_main(target.value, *args)


def run_actor(target: Target, args: tuple[str, ...]) -> None:
    """Run one actor until it stops, or until SIGINT or SIGTERM asks for a graceful stop.

    A second signal, or one while the actor is still starting, cancels, and the exit code is 130.

    Raises:
        click.UsageError: when the actor does not accept that many arguments.
    """
    _check_arguments(target, args)
    if not run_main(_until_stopped, target, args):
        raise click.exceptions.Exit(EXIT_INTERRUPTED)


async def _until_stopped(target: Target, args: tuple[str, ...]) -> bool:
    """Run the actor; whether it stopped in good order."""
    actor: type[Actor] = target.value
    started: list[ActorRef] = []
    # The receiver comes first: from here on a signal is a request and does not kill the process.
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        trio.CancelScope() as everything,
    ):
        async with ActorSystem(target.short_name) as system, trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, started, everything)
            started.append(await system.start(actor, *args, name=actor.__name__.lower()))
            await started[0].stopped()
            nursery.cancel_scope.cancel()
    return not everything.cancelled_caught


async def _obey(
    signals: AsyncIterator[int], started: list[ActorRef], everything: trio.CancelScope
) -> None:
    """Stop the actor at the first signal; cancel at the second, or if it has not started yet."""
    await anext(signals)
    if started:
        started[0].stop()
        await anext(signals)
    everything.cancel()


def _check_arguments(target: Target, args: tuple[str, ...]) -> None:
    """Refuse arguments that the target's signature does not accept, before it is called."""
    callee: Callable[..., Any] = target.value
    signature = inspect.signature(callee)
    try:
        signature.bind(*args)
    except TypeError as error:
        names = " ".join(parameter.name.upper() for parameter in signature.parameters.values())
        expects = names or "no arguments"
        raise click.UsageError(f"{target.text} expects {expects}: {error}") from None
