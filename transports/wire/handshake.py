"""The handshake at the start of each connection: who the peer is, and which session goes on.

Both sides send a HELLO at once. Who has approved the peer's HELLO sends WELCOME; who has approved
it and has the peer's WELCOME too has agreed. A REFUSE ends it, with a reason. No I/O and no clock:
the link gives the handshake its deadline.

Nothing has to be agreed on that both sides could remember differently: each side numbers its own
sessions, and says which one of the peer's it remembers. So a connection may break within a
handshake, at any frame.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from transports.errors import DecodeError, WrongState
from transports.wire import frames
from transports.wire.frames import Hello, Reason, Refuse


class State(enum.Enum):
    """Where a handshake is."""

    AWAIT_HELLO = "await hello"
    AWAIT_WELCOME = "await welcome"
    AGREED = "agreed"
    REFUSED = "refused"


class Event(enum.Enum):
    """What happens to it: a frame that was approved, or a refusal of either side."""

    HELLO = "hello"
    WELCOME = "welcome"
    REFUSE = "refuse"


#: What is not in the table is out of order, and refused.
TABLE: Final[dict[tuple[State, Event], State]] = {
    (State.AWAIT_HELLO, Event.HELLO): State.AWAIT_WELCOME,
    (State.AWAIT_HELLO, Event.REFUSE): State.REFUSED,
    (State.AWAIT_WELCOME, Event.WELCOME): State.AGREED,
    (State.AWAIT_WELCOME, Event.REFUSE): State.REFUSED,
}

EVENTS: Final = {
    frames.HELLO: Event.HELLO,
    frames.WELCOME: Event.WELCOME,
    frames.REFUSE: Event.REFUSE,
}


@attrs.frozen
class Agreed:
    """The session may begin, or go on.

    peer: its HELLO. resumed: the session that we remember goes on; if it is False and there is one
        (`peer_session` of our HELLO is not 0), that one is lost. peer_received: the highest
        sequence of this session that the peer has in order.
    """

    peer: Hello
    resumed: bool
    peer_received: int


@attrs.frozen
class Refused:
    """There is no agreement: why, in words too, and whether it is the peer that refused."""

    reason: Reason
    text: str
    by_peer: bool


class Handshake:
    """One handshake, on one connection.

    me: what this side says. expected: the name that the peer must have, if it was called by one.
    fence: the least incarnation of the peer that is taken, for peers that were given up; those
        before the session remembered are refused in any case.

    Raises:
        ValueError: `expected` is this side's own name, or `fence` is negative.
    """

    def __init__(self, me: Hello, *, expected: str | None = None, fence: int = 0) -> None:
        if expected == me.node:
            raise ValueError(f"expected is the name of another node than this one: {expected!r}")
        if type(fence) is not int or fence < 0:
            raise ValueError(f"fence is an incarnation, or 0: {fence!r}")
        self._me = me
        self._expected = expected
        self._fence = max(fence, me.peer_incarnation)
        self._state = State.AWAIT_HELLO
        self._outgoing = [frames.encode_hello(me)]
        self._hello = b""
        self._peer: Hello | None = None
        self._result: Agreed | Refused | None = None

    @property
    def state(self) -> State:
        """Where it is in `TABLE`."""
        return self._state

    @property
    def result(self) -> Agreed | Refused | None:
        """What came of it, once something has."""
        return self._result

    def outgoing(self) -> list[bytes]:
        """The frames to write now; also after a refusal, whose reason the peer should hear."""
        taken, self._outgoing = self._outgoing, []
        return taken

    def received(self, frame: bytes) -> Agreed | Refused | None:
        """Take one frame, of whatever bytes; the result, once there is one.

        Frames behind the WELCOME are the session's.

        Raises:
            WrongState: there is a result already.
        """
        if self._result is not None:
            raise WrongState(self._state.value, "receiving")
        try:
            self._result = self._take(frame)
        except DecodeError as error:
            self._result = self._refuse(Reason.MALFORMED, error.why)
        return self._result

    def _take(self, frame: bytes) -> Agreed | Refused | None:
        kind = frames.kind(frame)
        if kind == frames.HELLO and frame == self._hello:
            # A network that doubles frames.
            return None
        event = EVENTS.get(kind)
        if event is None or (self._state, event) not in TABLE:
            raise DecodeError("$", f"a frame of kind {kind} in the state {self._state.value!r}")
        if event is Event.HELLO:
            return self._take_hello(frame)
        if event is Event.REFUSE:
            refuse = frames.decode_refuse(frame)
            self._advance(event)
            return Refused(refuse.reason, refuse.text, by_peer=True)
        frames.decode_welcome(frame)
        self._advance(event)
        return self._agree()

    def _take_hello(self, frame: bytes) -> Refused | None:
        magic, version = frames.hello_version(frame)
        if magic != frames.MAGIC:
            return self._refuse(Reason.MAGIC, "this is no link of Trouper")
        if version != frames.VERSION:
            return self._refuse(
                Reason.VERSION, f"version {version} of the protocol, {frames.VERSION} here"
            )
        peer = frames.decode_hello(frame)
        refusal = self._objection(peer)
        if refusal is not None:
            return self._refuse(*refusal)
        self._hello = frame
        self._peer = peer
        self._advance(Event.HELLO)
        self._outgoing.append(frames.encode_welcome())
        return None

    def objection(self, frame: bytes) -> Refuse | None:
        """Why a HELLO would be refused, before there is anything that it could disturb.

        Raises:
            DecodeError: it is malformed.
        """
        found = self._objection(frames.decode_hello(frame))
        return None if found is None else Refuse(*found)

    def _objection(self, peer: Hello) -> tuple[Reason, str] | None:
        me = self._me
        if peer.node == me.node:
            return Reason.OWN_NAME, f"both nodes are called {me.node}"
        if self._expected not in {None, peer.node}:
            return Reason.WRONG_NAME, f"{self._expected} was called, and {peer.node} answered"
        if peer.incarnation < self._fence:
            least = self._fence
            return Reason.FENCED, f"incarnation {peer.incarnation} is over: {least} is the least"
        if peer.incarnation == me.peer_incarnation and peer.session < me.peer_session:
            came = me.peer_session
            return Reason.SESSION_OVER, f"session {peer.session} is over: {came} came after it"
        if peer.max_frame < me.max_frame:
            return (
                Reason.FRAME_SIZE,
                f"frames of up to {me.max_frame} bytes are sent, the peer takes {peer.max_frame}",
            )
        return None

    def _agree(self) -> Agreed:
        peer = self._peer
        assert peer is not None
        # Who does not remember this session has nothing of it.
        return Agreed(peer, self._me.knows(peer), peer.received if peer.knows(self._me) else 0)

    def _refuse(self, reason: Reason, text: str) -> Refused:
        self._advance(Event.REFUSE)
        self._outgoing.append(frames.encode_refuse(Refuse(reason, text)))
        return Refused(reason, text, by_peer=False)

    def _advance(self, event: Event) -> None:
        self._state = TABLE[self._state, event]
