"""One person's node, from the first line to the last."""

from contextlib import aclosing

import click
import trio

from actors import ActorRef, ActorSystem
from examples.chat.commands import Quit, WrongLine, check_room, read_line
from examples.chat.member import Member
from examples.chat.messages import Who
from examples.chat.terminal import read_lines, show


async def main(
    system: ActorSystem, room: str = "lobby", *, task_status: trio.TaskStatus[None]
) -> None:
    """Chat, in a room to begin with, until /quit or the end of the input."""
    try:
        check_room(room)
    except WrongLine as error:
        raise click.UsageError(str(error)) from error
    member = await system.start(Member, room, show, name="member")
    task_status.started()
    async with aclosing(read_lines()) as lines:
        async for line in lines:
            if not await obey(member, line):
                return


async def obey(member: ActorRef, line: str) -> bool:
    """Do what a line says; False: that was the last one."""
    try:
        order = read_line(line)
    except WrongLine as error:
        show(str(error))
        return True
    match order:
        case Quit():
            return False
        case Who():
            room, names = await member.ask(order)
            show(f"* in {room}: {', '.join(names)}" if room else "* you are in no room")
        case None:
            pass
        case _:
            await member.send(order)
    return True
