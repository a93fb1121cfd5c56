"""How `trouper` ends, as its exit code says it; docs/operations.md has the same table."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager

import click

from actors import ActorError
from transports.control import NodeRuns, NoNodeHere, NoPlace, Refused
from transports.control.protocol import Code


class ExitCode(enum.IntEnum):
    """The exit codes of all commands."""

    OK = 0
    FAILED = 1
    """The target raised, or there is nothing that can be run."""
    USAGE = 2
    NO_NODE = 3
    """No such node runs here, or which one is meant is not clear, or it went away."""
    REFUSED = 4
    """The node answered by an error."""
    TIMEOUT = 5
    """It did not come in time: a reply, or that the node is ready."""
    TAKEN = 6
    """What `run` needs cannot be had: its name, its address, its control socket."""
    CUT_OFF = 7
    """After SIGTERM or Ctrl-C, not everything ended within the grace."""
    INTERRUPTED = 130


class Failed(click.ClickException):
    """One line for stderr, and an exit code."""

    def __init__(self, text: str, code: ExitCode) -> None:
        super().__init__(" ".join(text.split()))
        self.exit_code = int(code)  # type: ignore[misc] # click reads it of the instance


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What a node or its socket says against a request becomes one line and an exit code.

    Raises:
        Failed: with both.
    """
    try:
        yield
    except Refused as error:
        code = ExitCode.TIMEOUT if error.code == Code.TIMEOUT else ExitCode.REFUSED
        raise Failed(error.text, code) from error
    except (NoNodeHere, NoPlace) as error:
        raise Failed(str(error), ExitCode.NO_NODE) from error
    except NodeRuns as error:
        raise Failed(str(error), ExitCode.TAKEN) from error
    except BaseExceptionGroup as group:
        # A nursery's, of one task: the reason is in it.
        found: BaseException = group
        while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
            found = found.exceptions[0]
        if isinstance(found, ActorError):
            with one_line_errors():
                raise found from None
        raise
