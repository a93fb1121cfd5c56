"""The beginning of a connection with a server: INFO, perhaps TLS, CONNECT, and a first PONG.

No I/O and no clock: who connects gives it its deadline, and upgrades the stream when asked to.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from transports.errors import WrongState
from transports.nats import protocol
from transports.nats.errors import (
    AuthorizationViolation,
    NatsError,
    PermissionsViolation,
    ProtocolFault,
    Refused,
    ServerError,
    ServerTooOld,
)
from transports.nats.info import OLDEST, ServerInfo


class State(enum.Enum):
    """Where a connection is."""

    AWAIT_INFO = "await info"
    AWAIT_TLS = "await tls"
    AWAIT_PONG = "await pong"
    CONNECTED = "connected"
    LEAVING = "leaving"
    CLOSED = "closed"


class Event(enum.Enum):
    """What happens to it."""

    INFO = "info"
    INFO_TLS = "info, and tls is to begin"
    SECURED = "secured"
    PING = "ping"
    PONG = "pong"
    OKAY = "ok"
    MESSAGE = "message"
    ERROR = "error"
    LAME_DUCK = "lame duck"
    END = "end"


#: What is not in the table is out of order: a fault of the server.
TABLE: Final[dict[tuple[State, Event], State]] = {
    (State.AWAIT_INFO, Event.INFO): State.AWAIT_PONG,
    (State.AWAIT_INFO, Event.INFO_TLS): State.AWAIT_TLS,
    (State.AWAIT_INFO, Event.ERROR): State.CLOSED,
    (State.AWAIT_INFO, Event.END): State.CLOSED,
    (State.AWAIT_TLS, Event.SECURED): State.AWAIT_PONG,
    (State.AWAIT_TLS, Event.END): State.CLOSED,
    # A server says INFO again when its cluster changes, which may be now.
    (State.AWAIT_PONG, Event.INFO): State.AWAIT_PONG,
    (State.AWAIT_PONG, Event.LAME_DUCK): State.AWAIT_PONG,
    (State.AWAIT_PONG, Event.PING): State.AWAIT_PONG,
    (State.AWAIT_PONG, Event.OKAY): State.AWAIT_PONG,
    (State.AWAIT_PONG, Event.PONG): State.CONNECTED,
    (State.AWAIT_PONG, Event.ERROR): State.CLOSED,
    (State.AWAIT_PONG, Event.END): State.CLOSED,
    (State.CONNECTED, Event.INFO): State.CONNECTED,
    (State.CONNECTED, Event.PING): State.CONNECTED,
    (State.CONNECTED, Event.PONG): State.CONNECTED,
    (State.CONNECTED, Event.OKAY): State.CONNECTED,
    (State.CONNECTED, Event.MESSAGE): State.CONNECTED,
    (State.CONNECTED, Event.ERROR): State.CONNECTED,
    (State.CONNECTED, Event.LAME_DUCK): State.LEAVING,
    (State.CONNECTED, Event.END): State.CLOSED,
    (State.LEAVING, Event.INFO): State.LEAVING,
    (State.LEAVING, Event.PING): State.LEAVING,
    (State.LEAVING, Event.PONG): State.LEAVING,
    (State.LEAVING, Event.OKAY): State.LEAVING,
    (State.LEAVING, Event.MESSAGE): State.LEAVING,
    (State.LEAVING, Event.ERROR): State.LEAVING,
    (State.LEAVING, Event.LAME_DUCK): State.LEAVING,
    (State.LEAVING, Event.END): State.CLOSED,
}

_EVENTS: Final[dict[type, Event]] = {
    protocol.Message: Event.MESSAGE,
    protocol.Ping: Event.PING,
    protocol.Pong: Event.PONG,
    protocol.Okay: Event.OKAY,
    protocol.Error: Event.ERROR,
}

_PERMISSION: Final = re.compile(
    r'permissions violation for (publish|subscription) to "(.*?)"(?: using queue .*)?',
    re.IGNORECASE | re.DOTALL,
)
_AUTHORIZATION: Final = (
    "authorization violation",
    "user authentication expired",
    "user authentication revoked",
    "account authentication expired",
    "authentication timeout",
)


class Handshake:
    """The state of one connection, and its beginning.

    server: host:port, for errors. connect: gives the fields of CONNECT for an INFO. secure: the
    stream has TLS already. want_tls: it is to have TLS whatever the server says.
    """

    def __init__(
        self,
        server: str,
        connect: Callable[[ServerInfo], Mapping[str, Any]],
        *,
        secure: bool = False,
        want_tls: bool = False,
    ) -> None:
        self._server = server
        self._connect = connect
        self._secure = secure
        self._want_tls = want_tls
        self._state = State.AWAIT_INFO
        self._outgoing = b""
        self.info = ServerInfo()
        """The newest INFO."""

    @property
    def state(self) -> State:
        """Where it is in `TABLE`."""
        return self._state

    @property
    def is_new(self) -> bool:
        """Whether the first PONG is still to come."""
        return self._state in {State.AWAIT_INFO, State.AWAIT_TLS, State.AWAIT_PONG}

    def outgoing(self) -> bytes:
        """What to write now."""
        taken, self._outgoing = self._outgoing, b""
        return taken

    def received(self, event: protocol.Event) -> None:
        """Take one event of the parser. In the states CONNECTED and LEAVING, all but messages.

        Raises:
            Refused: the server does not want this client, or is too old, or has no TLS.
            ProtocolFault: no server says that now.
        """
        if type(event) is protocol.Info:
            self._take_info(event.info)
            return
        self._advance(_EVENTS[type(event)])
        if type(event) is protocol.Ping:
            self._outgoing += protocol.PONG
        elif type(event) is protocol.Error and self._state is State.CLOSED:
            raise refusal(self._server, event.text)

    def secured(self) -> None:
        """The stream has TLS now.

        Raises:
            WrongState: that was not asked for.
        """
        if self._state is not State.AWAIT_TLS:
            raise WrongState(self._state.value, Event.SECURED.value)
        self._secure = True
        self._advance(Event.SECURED)
        self._introduce()

    def ended(self) -> None:
        """The stream has ended."""
        self._state = State.CLOSED

    def _take_info(self, info: ServerInfo) -> None:
        self.info = info
        if self._state is not State.AWAIT_INFO:
            self._advance(Event.LAME_DUCK if info.ldm else Event.INFO)
            return
        if not info.is_new_enough:
            self._advance(Event.END)
            raise ServerTooOld(self._server, info.version, ".".join(map(str, OLDEST)))
        if not self._secure and (self._want_tls or info.tls_required):
            if not (info.tls_required or info.tls_available):
                self._advance(Event.END)
                raise Refused(self._server, "the server has no TLS, and nothing is said without it")
            self._advance(Event.INFO_TLS)
            return
        self._advance(Event.INFO)
        self._introduce()

    def _introduce(self) -> None:
        self._outgoing += protocol.encode_connect(self._connect(self.info)) + protocol.PING

    def _advance(self, event: Event) -> None:
        state = TABLE.get((self._state, event))
        if state is None:
            raise ProtocolFault(f"{event.value} in the state {self._state.value!r}")
        self._state = state


def refusal(server: str, text: str) -> Refused:
    """The -ERR that ends a connection."""
    if text.lower() in _AUTHORIZATION:
        return AuthorizationViolation(server, text)
    return Refused(server, text)


def server_error(text: str) -> NatsError:
    """The -ERR of a connection that is established, as an error."""
    found = _PERMISSION.fullmatch(text)
    if found is not None:
        return PermissionsViolation(found[1].lower(), found[2])
    return ServerError(text)
