"""Connections of nodes over an engine: each node hears at subjects of its own.

    trouper.CLUSTER.node.NAME.INCARNATION.call       a request: connect with me
    trouper.CLUSTER.node.NAME.INCARNATION.to.ID      what a connection carries to this node

NAME is escaped. One subscription serves them all, and messages go straight to the stream of their
connection. docs/wire.md specifies the bytes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from actors import ActorError
from transports.connection import Frames
from transports.endpoint import Endpoint, Handle
from transports.introducing import Introducer
from transports.nats.errors import NoResponders
from transports.nats.streams import EngineStream
from transports.nats.subjects import escape, is_answerable

if TYPE_CHECKING:
    from transports.nats.client import Client
    from transports.nats.protocol import Message
    from transports.nats.subscription import Listening

log = logging.getLogger("transports")

ID: Final = 12
"""Bytes of a connection's number, which nobody can foretell."""
CALL_WITHIN: Final = 2.0
"""Seconds for a node that is there to answer a call."""
MOST: Final = 4096
"""Connections at once: more are refused."""


class Call(msgspec.Struct, forbid_unknown_fields=True):
    """What a call says: where the caller hears of this connection, and under which number."""

    back: str
    id: str


class NatsEndpoint(Endpoint):
    """One node's place in a cluster on NATS.

    where: of a peer is its name; `incarnations` says which process that is now.
    """

    def __init__(self, cluster: str, secret: bytes | None) -> None:
        self.introducer = Introducer(secret)
        self.incarnations: dict[str, int] = {}
        self._prefix = f"trouper.{escape(cluster)}.node"
        self._client: Client
        self._here = ""
        self.streams: dict[str, EngineStream] = {}
        """By the numbers of their connections."""
        self._served: tuple[trio.Nursery, Handle] | None = None

    def open(self, client: Client, name: str, incarnation: int) -> Listening:
        """Hear at this node's subjects, as long as the client is there."""
        self._client = client
        self._here = self._subject(name, incarnation)
        return client.listen(f"{self._here}.>", self._received)

    def _subject(self, name: str, incarnation: int) -> str:
        return f"{self._prefix}.{escape(name)}.{incarnation}"

    def break_all(self, why: str) -> None:
        """The engine is away, and what was on its way may be lost."""
        for stream in tuple(self.streams.values()):
            stream.break_(why)

    # -- Endpoint

    async def connect(self, where: str) -> trio.abc.Stream:
        """A connection with the node of that name. A checkpoint.

        Raises:
            OSError: it is not there, does not answer, or there is no engine.
        """
        await trio.lowlevel.checkpoint()
        incarnation = self.incarnations.get(where)
        if incarnation is None:
            raise OSError(f"no node {where!r} is there")
        there = self._subject(where, incarnation)
        id_ = self.introducer.nonce(ID).hex()
        try:
            stream = self._make(id_, f"{there}.to.{id_}")
        except ActorError as error:
            raise OSError(str(error)) from error
        call = msgspec.json.encode(Call(f"{self._here}.to.{id_}", id_))
        try:
            answer = await self._client.request(f"{there}.call", call, timeout=CALL_WITHIN)
            if answer.data:
                raise OSError(answer.data.decode("utf-8", "replace"))
        except BaseException as error:
            stream.break_("the call has failed")
            if isinstance(error, NoResponders):
                raise OSError("its process, or its connection with NATS, is gone") from error
            if isinstance(error, ActorError):
                raise OSError(str(error)) from error
            raise
        return stream

    async def serve(self, handle: Handle) -> None:
        async with trio.open_nursery() as nursery:
            self._served = (nursery, handle)
            try:
                await trio.sleep_forever()
            finally:
                self._served = None

    async def introduce(
        self, connection: Frames, me: str, peer: str | None, *, called: bool
    ) -> str | None:
        return await self.introducer.introduce(connection, me, peer, "NATS", called=called)

    # -- what comes

    def _received(self, message: Message) -> None:
        subject = message.subject[len(self._here) :]
        if subject == ".call":
            refusal = self._called(message.data)
            if message.reply and is_answerable(message.reply):
                try:
                    self._client.publish(message.reply, refusal.encode())
                except ActorError as error:
                    log.debug("an answer to a call was not sent: %s", error)
        elif (stream := self.streams.get(subject.removeprefix(".to."))) is not None:
            stream.received(message.data)

    def _called(self, data: bytes) -> str:
        """Take a call; "", or why not."""
        try:
            call = msgspec.json.decode(data, type=Call)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return f"no call: {error}"
        if self._served is None:
            return "this node takes no calls"
        if len(self.streams) >= MOST:
            return f"this node has {MOST} connections already"
        # Anybody may have sent this: it is answered at a node's subject of this cluster only.
        if call.id in self.streams or not _is_of(call, self._prefix):
            return "no call of a node"
        nursery, handle = self._served
        nursery.start_soon(handle, self._make(call.id, call.back))
        return ""

    def _make(self, id_: str, there: str) -> EngineStream:
        def ended() -> None:
            self.streams.pop(id_, None)

        piece = self._client.server_info.max_payload
        stream = self.streams[id_] = EngineStream(self._client, there, piece, ended)
        return stream


def _is_of(call: Call, prefix: str) -> bool:
    tokens = call.back.removeprefix(prefix + ".").split(".")
    return (
        call.back.startswith(prefix + ".")
        and len(tokens) == 4
        and all(tokens)
        and tokens[2:] == ["to", call.id]
        and not set(call.back) & set("*> \t\r\n")
    )
