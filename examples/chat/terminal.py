"""Lines from and to a terminal, or a pipe, without a thread."""

import os
from collections.abc import AsyncGenerator

import click
import trio

STDIN = 0


async def read_lines() -> AsyncGenerator[str, None]:
    """The lines of standard input, until its end.

    A terminal is left as it is, in its own mode of whole lines: nothing is to be put right if this
    process is killed.
    """
    rest = b""
    while True:
        try:
            await trio.lowlevel.wait_readable(STDIN)
        except OSError:
            # Of a file nobody need wait to read: an `epoll` refuses it.
            await trio.lowlevel.checkpoint()
        data = os.read(STDIN, 1 << 12)
        *lines, rest = (rest + data).split(b"\n")
        if not data and rest:
            lines.append(rest)
        for line in lines:
            yield line.decode("utf-8", "replace")
        if not data:
            return


def show(text: str) -> None:
    """Print it. What others have typed cannot move the cursor, or worse."""
    lines = text.split("\n")
    click.echo("\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines))
