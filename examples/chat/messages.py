"""What members say to each other, and what a terminal says to its member."""

from actors import ActorRef, Request, message


@message(name="chat.Said")
class Said:
    """A line, in a room."""

    room: str
    who: ActorRef
    text: str


@message(name="chat.Here")
class Here:
    """Somebody is in a room: they say so again and again."""

    room: str
    who: ActorRef


@message(name="chat.Gone")
class Gone:
    """Somebody has left a room, and lives on."""

    room: str
    who: ActorRef


@message(name="chat.Say")
class Say:
    """To one's own member: say this in the room."""

    text: str


@message(name="chat.Join")
class Join:
    """To one's own member: leave the room, and join this one; None: none."""

    room: str | None


@message(name="chat.Who")
class Who(Request[tuple[str | None, list[str]]]):
    """To one's own member: which room is this, and who is in it?"""


@message(name="chat.Beat")
class Beat:
    """To itself: time to say that it is here."""
