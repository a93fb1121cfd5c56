"""The actor that stands for one person."""

from collections.abc import Callable

from actors import Actor, ActorRef, ExitReason, NodeDown, Terminated, TopicRef
from examples.chat.messages import Beat, Gone, Here, Join, Said, Say, Who

Message = Say | Join | Who | Said | Here | Gone | Beat | Terminated

BEAT = 1.0
"""Seconds from one Here to the next."""


class Member(Actor):
    """Is in one room at a time, or in none; shows what happens there."""

    def __init__(self, room: str, show: Callable[[str], None]) -> None:
        self.show = show
        self.first_room = room
        self.room: str | None = None
        self.others: dict[ActorRef, None] = {}

    async def started(self) -> None:
        """Enter the first room."""
        self.context.every(BEAT, Beat())
        self.enter(self.first_room)

    def receive(self, message: Message) -> object:
        """What one's own terminal wants, and what the others do."""
        match message:
            case Say(text):
                self.say(text)
            case Join(room):
                self.leave()
                if room is not None:
                    self.enter(room)
            case Who():
                return self.room, [name_of(self.context.ref), *map(name_of, self.others)]
            case Beat():
                self.publish_here()
            case Terminated(who, reason):
                if who in self.others:
                    self.lose(who, in_words(reason))
            case Said() | Here() | Gone() if message.who == self.context.ref:
                pass  # a topic reaches its publisher too
            case Said(room, who, text) if room == self.room:
                self.show(f"[{room}] {name_of(who)}: {text}")
            case Here(room, who) if room == self.room:
                self.meet(who)
            case Gone(room, who) if room == self.room and who in self.others:
                self.context.unwatch(who)
                self.lose(who, "has left the room")
            case _:
                pass  # it was on its way when this member left that room
        return None

    # -- one's own

    @property
    def topic(self) -> TopicRef:
        """The room, as a topic."""
        topic = self.context.system.at(f"topic://chat.{self.room}")
        assert isinstance(topic, TopicRef)
        return topic

    def enter(self, room: str) -> None:
        """Be in a room: hear what is said there, and let the others know."""
        self.room = room
        self.context.system.subscribe(f"topic://chat.{room}", self.context.ref)
        self.show(f"* you are in {room}")
        self.publish_here()

    def leave(self) -> None:
        """Be in no room."""
        if self.room is not None:
            self.context.system.unsubscribe(f"topic://chat.{self.room}", self.context.ref)
            self.topic.publish(Gone(self.room, self.context.ref))
            self.show(f"* you have left {self.room}")
        for who in self.others:
            self.context.unwatch(who)
        self.others.clear()
        self.room = None

    def say(self, text: str) -> None:
        """Say something to the room."""
        if self.room is None:
            self.show("* you are in no room: /join one")
        else:
            self.topic.publish(Said(self.room, self.context.ref, text))

    def publish_here(self) -> None:
        """Say that one is here."""
        if self.room is not None:
            self.topic.publish(Here(self.room, self.context.ref))

    # -- the others

    def meet(self, who: ActorRef) -> None:
        """Somebody is here. Who is new is watched, and need not wait a beat to know of this one."""
        if who not in self.others:
            assert self.room is not None
            self.others[who] = None
            self.context.watch(who)
            self.show(f"* {name_of(who)} is here")
            who.tell(Here(self.room, self.context.ref))

    def lose(self, who: ActorRef, why: str) -> None:
        """Somebody is here no more."""
        del self.others[who]
        self.show(f"* {name_of(who)} {why}")


def name_of(who: ActorRef) -> str:
    """A person is called as their node."""
    return who.address.node


def in_words(reason: object) -> str:
    """Why somebody is gone."""
    match reason:
        case NodeDown(_, why):
            return f"is lost: {why}"
        case ExitReason():
            return "has left"
    return "has failed"
