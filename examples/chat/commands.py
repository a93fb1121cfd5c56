"""What can be typed: from a line to what it means."""

from actors import Address, InvalidAddress
from examples.chat.messages import Join, Say, Who

HELP = """\
/join ROOM   leave this room, and join that one
/leave       leave this room
/who         who is here
/quit        leave
anything else is said to the room"""


class Quit:
    """Leave."""


class WrongLine(Exception):
    """A line that means nothing; the text says what to do."""


def read_line(line: str) -> Say | Join | Who | Quit | None:
    """What a line means; None: nothing at all.

    Raises:
        WrongLine: it is no command.
    """
    words = line.split()
    match words:
        case []:
            return None
        case ["/join", room]:
            return Join(check_room(room))
        case ["/leave"]:
            return Join(None)
        case ["/who"]:
            return Who()
        case ["/quit"]:
            return Quit()
        case ["/help"]:
            raise WrongLine(HELP)
        case [word, *_] if word.startswith("/"):
            raise WrongLine(f"{line.strip()!r} is no command:\n{HELP}")
    return Say(line.strip())


def check_room(room: str) -> str:
    """The name of a room.

    Raises:
        WrongLine: it cannot be one word of a topic.
    """
    try:
        Address.parse(f"topic://chat.{room}")
    except InvalidAddress:
        is_word = False
    else:
        is_word = not any(each in room for each in ".*")
    if not is_word:
        raise WrongLine(f"{room!r} is no name for a room: take letters and digits")
    return room
