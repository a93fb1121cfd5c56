"""The ways to run a target."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import Any, Final

import click
import msgspec
import trio

from actors import Actor, ActorSystem
from actors import run as run_main
from actors.address import Address
from actors.cell import Cell
from actors.states import STARTING
from transports.cli.exit_codes import ExitCode, Failed
from transports.cli.node import NodeOptions, check_node_name, make_transport
from transports.cli.signals import stop_signals
from transports.cli.target import Target
from transports.control import Control, NodeRuns, Place, claim, place_of, serve
from transports.nodes.history import recording
from transports.nodes.inspector import address_of

GRACE: Final = 10.0
"""Seconds, if `--grace` is not given."""


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


def run_node(target: Target, args: tuple[str, ...], options: NodeOptions) -> None:
    """Make a node for an actor, or for an async function that takes the system, and run it there.

    Until the actor has stopped, or the function has returned; or until SIGINT or SIGTERM, after
    which the node is left in good order. A second signal ends it at once.

    Raises:
        click.UsageError: the target does not accept that many arguments; options without a sense.
        click.exceptions.Exit: it did not end in good order.
        Failed: what it needs cannot be had.
    """
    _check_arguments(target, args)
    code = run_main(_Run(target, args, options).run)
    if code != ExitCode.OK:
        raise click.exceptions.Exit(int(code))


class _TaskStatus:
    """What a function gets as `task_status`, as from `nursery.start`: it says when it is ready."""

    def __init__(self, say_ready: Callable[[], None]) -> None:
        self._say_ready: Callable[[], None] | None = say_ready

    def started(self, value: object = None) -> None:
        """It is ready; the value has no meaning here.

        Raises:
            RuntimeError: it has said so before.
        """
        say_ready, self._say_ready = self._say_ready, None
        if say_ready is None:
            raise RuntimeError("task_status.started() is called once")
        say_ready()


class _Run:
    """One run of a target as a node."""

    def __init__(self, target: Target, args: tuple[str, ...], options: NodeOptions) -> None:
        self._target = target
        self._args = args
        self._options = options
        self._everything = trio.CancelScope()
        self._body = trio.CancelScope()
        self._is_ready = False
        self._stops_when_ready = False
        self._find: Callable[[], Cell | None] = lambda: None

    async def run(self) -> ExitCode:
        """Run it; how it ended."""
        options = self._options
        name = check_node_name(options.name or self._target.short_name)
        grace = GRACE if options.grace is None else options.grace
        system = ActorSystem(name, transport=make_transport(options), stop_within=grace)
        place = place_of(name, options.control)
        with contextlib.ExitStack() as stack:
            # The signals come first: from here on one is a request, and does not kill the process.
            stack.enter_context(stop_signals(self._stop, self._everything.cancel, self._is_orderly))
            try:
                stack.enter_context(claim(place))
            except (NodeRuns, OSError) as error:
                raise Failed(str(error), ExitCode.TAKEN) from error
            try:
                stack.enter_context(recording(system, options.history))
            except OSError as error:
                text = f"--history {options.history}: {error.strerror}"
                raise Failed(text, ExitCode.TAKEN) from error
            with self._everything:
                await self._in(system, place)
        if self._everything.cancelled_caught:
            return ExitCode.INTERRUPTED
        return ExitCode.OK if system.left_in_time else ExitCode.CUT_OFF

    async def _in(self, system: ActorSystem, place: Place) -> None:
        served = False
        try:
            async with system, serve(system, place) as control:
                served = True
                if self._options.workers:
                    from transports.cli.workers import start_workers  # it loads all of supervision

                    await start_workers(system, self._options.workers, self._target)
                with self._body:
                    await self._work(system, control)
        except OSError as error:
            if served:
                raise
            # A port or path that is in use, or that this user may not have.
            raise Failed(str(error), ExitCode.TAKEN) from error

    async def _work(self, system: ActorSystem, control: Control) -> None:
        """What is done in the system, until it is cancelled."""
        if self._target.takes_system:
            say_ready = functools.partial(self._say_ready, system, control)
            if self._target.says_ready:
                await self._target.value(system, *self._args, task_status=_TaskStatus(say_ready))
            else:
                say_ready()
                await self._target.value(system, *self._args)
            return
        actor: type[Actor] = self._target.value
        name = actor.__name__.lower()
        # A signal may come when it has started, and before `start` has returned its ref.
        self._find = lambda: system._find(Address("actor", system.name, name))
        ref = await system.start(actor, *self._args, name=name)
        self._say_ready(system, control)
        if self._stops_when_ready:
            self._body.cancel()
        await ref.stopped()

    def _say_ready(self, system: ActorSystem, control: Control) -> None:
        self._is_ready = True
        control.set_ready()
        address = address_of(system)
        cluster = self._options.cluster
        line = f"ready: actor://{system.name}" + (f" at {address}" if address else "")
        line += f" in cluster {cluster}" if cluster else ""
        if self._options.as_json:
            ready = {"ready": f"actor://{system.name}", "address": address, "cluster": cluster}
            line = msgspec.json.encode({**ready, "control": str(control.place.path)}).decode()
        click.echo(line, err=True)

    def _is_orderly(self) -> bool:
        """Whether there is something that can be ended in good order."""
        if self._is_ready:
            return True
        cell = self._find()
        # Then it handles messages already; only this run has not been told yet.
        return cell is not None and cell._state is not STARTING

    def _stop(self) -> None:
        """The first signal: in good order."""
        if self._is_ready:
            self._body.cancel()
        else:
            self._stops_when_ready = True


def _check_arguments(target: Target, args: tuple[str, ...]) -> None:
    """Refuse arguments that the target's signature does not accept, before it is called."""
    callee: Callable[..., Any] = target.value
    signature = inspect.signature(callee)
    taken = ("the system",) if target.takes_system else ()
    given = {"task_status": None} if target.says_ready else {}
    try:
        signature.bind(*taken, *args, **given)
    except TypeError as error:
        parameters = [*signature.parameters][len(taken) :]
        names = " ".join(name.upper() for name in parameters if name not in given)
        expects = names or "no arguments"
        raise click.UsageError(f"{target.text} expects {expects}: {error}") from None
