"""Programs that know nothing of Trouper ask services, use queues and publish: any client of NATS.

    trouper.CLUSTER.service.NAME       trouper.CLUSTER.queue.NAME       trouper.CLUSTER.topic.A.B.C

The body is JSON, `{"name": "shop.Reserve", "fields": {...}}`. A request is answered with
`{"reply": ...}` or `{"error": {"kind": ..., "text": ...}}`; what is published without a reply
subject is told. Words of a name are escaped, see docs/wire.md. Nodes that expose the same share
the work: each message goes to one of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from actors import (
    ActorError,
    ActorFailed,
    ActorStopped,
    ActorSystem,
    AskTimeout,
    InvalidAddress,
    MailboxFull,
    NotAskable,
    SystemClosed,
    TopicRef,
)
from actors.address import Address
from actors.routing.patterns import pattern_of
from transports.encoding.json_form import JsonForm, NoSuchMessage
from transports.errors import DecodeError
from transports.nats.subjects import escape, is_answerable, unescape

if TYPE_CHECKING:
    from transports.nats.client import Client
    from transports.nats.node import Nats
    from transports.nats.protocol import Message

log = logging.getLogger("transports")

GROUP: Final = "trouper"
AT_ONCE: Final = 1_024
"""Requests that are answered at once; more get an error."""
TIMEOUT: Final = 5.0
TIMEOUT_HEADER: Final = "Trouper-Timeout"
"""Seconds, up to an hour, for the reply; the asked actor sees what is left of them."""

#: What is said of an error, by its class: the first that fits.
KINDS: Final[tuple[tuple[type[Exception], str, int], ...]] = (
    (NoSuchMessage, "no-such-message", 404),
    (DecodeError, "malformed", 400),
    (InvalidAddress, "no-such-address", 404),
    (NotAskable, "not-askable", 400),
    (AskTimeout, "timeout", 504),
    (MailboxFull, "full", 503),
    (ActorStopped, "stopped", 503),
    (SystemClosed, "stopped", 503),
    (ActorFailed, "failed", 500),
)


class Envelope(msgspec.Struct):
    """The body of a message from outside; a `version`, as `trouper` shows it, is not looked at."""

    name: str
    fields: msgspec.Raw = msgspec.Raw(b"{}")


class Busy(Exception):
    """There are AT_ONCE requests. Private."""


def check_exposed(exposed: Iterable[str]) -> tuple[Address, ...]:
    """The addresses that others may use.

    Raises:
        InvalidAddress: one is no topic, queue or service; or a pattern makes no sense.
    """
    if isinstance(exposed, str):
        raise TypeError(f"exposed is a list of addresses: [{exposed!r}]")
    found = []
    for each in exposed:
        address = Address.parse(each)
        if address.scheme == "actor" or address.version:
            raise InvalidAddress(each, "topics, queues and services can be exposed")
        if address.scheme == "topic":
            pattern_of(address.path)
        elif "*" in address.path:
            raise InvalidAddress(each, "only topics have wildcards")
        found.append(address)
    return tuple(found)


def subjects_of(cluster: str, address: Address) -> list[str]:
    """The subjects at which messages for an address come; a topic's pattern has wildcards."""
    head = f"trouper.{cluster}.{address.scheme}"
    if address.scheme != "topic":
        return [f"{head}.{escape(address.path)}"]
    words = [word if word in {"*", "**"} else escape(word) for word in address.path.split(".")]
    if words[-1] != "**":
        return [".".join([head, *words])]
    # "**" may be no word at all, and ">" is one at least.
    return [
        ".".join([head, *words[:-1], *rest]) for rest in (((),) if words[1:] else ()) + ((">",),)
    ]


class Gateway:
    """Passes on what others publish, for one node."""

    def __init__(self, node: Nats, client: Client, exposed: tuple[Address, ...]) -> None:
        self._node = node
        self._client = client
        self._system: ActorSystem = node.system
        self._form = JsonForm(self._system.at)
        self._answering = 0
        self._head = f"trouper.{node.cluster}."
        self._listening = [
            client.listen(subject, self._received, queue=GROUP)
            for address in exposed
            for subject in subjects_of(node.cluster, address)
        ]

    def close(self) -> None:
        """Hear nothing more; what is being answered still is."""
        for listening in self._listening:
            listening.unsubscribe()

    def _received(self, message: Message) -> None:
        if message.reply:
            if not is_answerable(message.reply):
                log.warning(
                    "NATS: a request to %s was not taken: it wants its answer at %r",
                    *(message.subject, message.reply),
                )
                return
            if self._answering >= AT_ONCE:
                error = Busy(f"{AT_ONCE} requests are being answered already")
                self._reply(message.reply, *_error(error, "busy", 503))
                return
            self._answering += 1
            self._node.start_soon(self._answer, message)
            return
        try:
            address, body = self._parse(message)
            self._system.at(address).tell(body)
        except ActorError as error:
            # Nobody is there to hear of it.
            log.warning("NATS: a message to %s was not taken: %s", message.subject, error)

    async def _answer(self, message: Message) -> None:
        try:
            address, body = self._parse(message)
            ref = self._system.at(address)
            if isinstance(ref, TopicRef):
                answer: Any = attrs.asdict(ref.publish(body))
            else:
                answer = self._form.encode(await ref.ask(body, timeout=_timeout(message)))
        except ActorError as error:
            kind, code = next(
                ((kind, code) for cls, kind, code in KINDS if isinstance(error, cls)),
                ("refused", 500),
            )
            self._reply(message.reply, *_error(error, kind, code))
        else:
            self._reply(message.reply, msgspec.json.encode({"reply": answer}), None)
        finally:
            self._answering -= 1

    def _parse(self, message: Message) -> tuple[str, Any]:
        scheme, _, rest = message.subject[len(self._head) :].partition(".")
        address = f"{scheme}://{'.'.join(map(unescape, rest.split('.')))}"
        try:
            envelope = msgspec.json.decode(message.data, type=Envelope)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DecodeError("$", f"no message as JSON: {error}") from error
        return address, self._form.decode(envelope.name, bytes(envelope.fields))

    def _reply(self, subject: str, data: bytes, headers: Mapping[str, str] | None) -> None:
        try:
            self._client.publish(subject, data, headers=headers)
        except ActorError as error:
            log.warning("NATS: an answer could not be sent: %s", error)


def _timeout(message: Message) -> float:
    given = message.headers.get(TIMEOUT_HEADER)
    if given is None:
        return TIMEOUT
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise DecodeError(
            f"header {TIMEOUT_HEADER}", f"seconds, above 0 up to 3600: {given[:50]!r}"
        )
    return seconds


def _error(error: Exception, kind: str, code: int) -> tuple[bytes, dict[str, str]]:
    text = str(error)
    body = msgspec.json.encode({"error": {"kind": kind, "text": text}})
    # As services made with the framework of NATS say it, so that its tools show it.
    line = " ".join(text.split())[:500]
    shown = line.encode("ascii", "replace").decode()
    return body, {"Nats-Service-Error": shown, "Nats-Service-Error-Code": str(code)}
