"""What a node does at each request: items, and what the answer ends with."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec
import trio

from actors import (
    Actor,
    ActorError,
    ActorFailed,
    ActorRef,
    ActorStopped,
    ActorSystem,
    AskTimeout,
    DeadLetter,
    InvalidAddress,
    Mailbox,
    MailboxFull,
    NotAskable,
    NotRunning,
    TopicRef,
)
from actors.address import Address
from actors.observation import Observation
from transports.control import protocol
from transports.control.protocol import Code
from transports.encoding.json_form import JsonForm, NoSuchMessage
from transports.errors import DecodeError, NotEncodable
from transports.nodes.inspector import SERVICE, Inspect, Report, report_actor, report_node

BUFFERED: Final = 1_000
"""Items that wait for a client that is slower than they come; more are left out, and counted."""

PEER_WITHIN: Final = 2.0
"""Seconds for a peer to report, beyond those that it is to observe."""

Say = Callable[[Any], Awaitable[None]]


class Failed(Exception):
    """A request came to no good: what the error line is to say."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Follower(Actor):
    """Hands on what it is told, to whoever reads it at the other end of a channel.

    It never waits: what the reader has no room for is left out, and how many that were is told
    before the next item.
    """

    mailbox = Mailbox(capacity=None)

    def __init__(self, items: trio.MemorySendChannel[tuple[int, Any]]) -> None:
        self._items = items
        self._missed = 0

    def receive(self, message: object) -> None:
        try:
            self._items.send_nowait((self._missed, message))
        except trio.WouldBlock:
            self._missed += 1
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.context.stop()
        else:
            self._missed = 0


class Commands:
    """The requests of one node's control socket."""

    def __init__(self, system: ActorSystem, observation: Observation) -> None:
        self._system = system
        self._observation = observation
        self._form = JsonForm(system.at)

    async def run(self, request: protocol.Request, say: Say) -> Any:
        """Do what is requested: `say` each item, and return what the answer ends with.

        Raises:
            Failed: it came to no good.
        """
        try:
            match request:
                case protocol.About():
                    await trio.lowlevel.checkpoint()
                    return report_node(self._system, ready=self._observation.ready)
                case protocol.Tree():
                    return await self._tree(request, say)
                case protocol.Tell():
                    return await self._tell(request)
                case protocol.Ask():
                    return await self._ask(request)
                case protocol.Publish():
                    return await self._publish(request)
                case protocol.Listen():
                    return await self._listen(request, say)
                case protocol.DeadLetters():
                    return await self._dead_letters(request, say)
        except NotRunning as error:
            raise Failed(Code.CLOSED, str(error)) from error
        except InvalidAddress as error:
            raise Failed(Code.BAD_REQUEST, str(error)) from error

    # -- the tree

    async def _tree(self, request: protocol.Tree, say: Say) -> None:
        reports: list[tuple[str, Report | str]] = []
        async with trio.open_nursery() as nursery:
            if request.peers:
                for ref in self._inspectors():
                    nursery.start_soon(self._report_of, ref, request, reports)
            observed = await self._observation.look(request.observe)
        node = report_node(self._system, ready=self._observation.ready)
        await say({"node": node})
        number = 0
        for number, each in enumerate(observed, 1):
            if number > request.most:
                break
            await say({"actor": report_actor(each), "node": node.node})
        if node.actors > request.most:
            await say({"left_off": node.actors - request.most, "node": node.node})
        for name, report in sorted(reports, key=lambda pair: pair[0]):
            await self._say_of(name, report, say)
        if request.peers:
            known = [name for name, _ in reports]
            for peer in node.peers:
                if peer.name not in known:
                    await say({"unreachable": peer.name, "why": f"its session is {peer.state}"})

    def _inspectors(self) -> list[ActorRef]:
        instances = self._system.instances(SERVICE)
        return [each.ref for each in instances if each.ref.address.node != self._system.name]

    async def _report_of(
        self, ref: ActorRef, request: protocol.Tree, reports: list[tuple[str, Report | str]]
    ) -> None:
        """Ask a peer's inspector, whatever it says."""
        name = ref.address.node
        seconds = min(request.observe, 2.0)
        try:
            report: object = await ref.ask(
                Inspect(seconds, min(request.most, 10_000)), seconds + PEER_WITHIN
            )
        except ActorError as error:
            report = str(error)
        if not isinstance(report, Report | str):
            report = "it did not answer as an inspector does"
        reports.append((name, report))

    async def _say_of(self, name: str, report: Report | str, say: Say) -> None:
        if isinstance(report, str):
            await say({"unreachable": name, "why": report})
            return
        await say({"node": report.node})
        for each in report.actors:
            await say({"actor": each, "node": name})
        if report.left_off:
            await say({"left_off": report.left_off, "node": name})

    # -- messages

    async def _tell(self, request: protocol.Tell) -> None:
        await trio.lowlevel.checkpoint()
        message = self._message(request.name, request.fields)
        ref = self._system.at(request.to)
        self._sent(message, lambda: ref.tell(message))

    async def _ask(self, request: protocol.Ask) -> Any:
        message = self._message(request.name, request.fields)
        try:
            reply = await self._system.at(request.to).ask(message, request.timeout)
        except AskTimeout as error:
            raise Failed(Code.TIMEOUT, str(error)) from error
        except ActorFailed as error:
            raise Failed(Code.FAILED, str(error)) from error
        except ActorStopped as error:
            raise Failed(Code.FAILED if error.started else Code.REFUSED, str(error)) from error
        except (MailboxFull, NotAskable, NotEncodable) as error:
            raise Failed(Code.REFUSED, str(error)) from error
        except NotRunning:
            raise
        except ActorError as error:
            raise Failed(Code.FAILED, str(error)) from error
        return self._form.encode(reply)

    async def _publish(self, request: protocol.Publish) -> dict[str, int]:
        await trio.lowlevel.checkpoint()
        message = self._message(request.name, request.fields)
        ref = self._system.at(_topic(request.topic))
        if not isinstance(ref, TopicRef):
            raise Failed(Code.BAD_REQUEST, f"{ref} is no topic")
        try:
            published = ref.publish(message)
        except NotEncodable as error:
            raise Failed(Code.REFUSED, str(error)) from error
        return msgspec.to_builtins(published)  # type: ignore[no-any-return] # a record of ints

    def _message(self, name: str, fields: msgspec.Raw) -> Any:
        try:
            return self._form.decode(name, bytes(fields))
        except NoSuchMessage as error:
            raise Failed(Code.BAD_MESSAGE, str(error)) from error
        except DecodeError as error:
            raise Failed(Code.BAD_MESSAGE, f"{name}: {error}") from error

    def _sent(self, message: object, tell: Callable[[], None]) -> None:
        """Tell; one that nobody got is a dead letter here, and an error to whoever told it."""
        letters = self._system.dead_letters
        before = letters.count
        try:
            tell()
        except NotRunning:
            raise
        except ActorError as error:
            raise Failed(Code.REFUSED, str(error)) from error
        if letters.count > before:
            letter = letters.recent[-1]
            if letter.message is message:
                raise Failed(Code.REFUSED, f"{letter.ref}: {letter.reason.value}")

    # -- what goes on

    async def _listen(self, request: protocol.Listen, say: Say) -> None:
        pattern = _topic(request.topic)
        async with self._follower(
            lambda ref: self._system.subscribe(pattern, ref), lambda _: None
        ) as messages:
            async for missed, message in messages:
                if missed:
                    await say({"missed": missed})
                await say(self._form.encode(message))

    async def _dead_letters(self, request: protocol.DeadLetters, say: Say) -> dict[str, int]:
        letters = self._system.dead_letters
        recent = letters.recent
        for letter in recent[max(0, len(recent) - request.last) :]:
            await say(self._letter(letter))
        if request.follow:
            async with self._follower(letters.subscribe, letters.unsubscribe) as coming:
                async for missed, letter in coming:
                    if missed:
                        await say({"missed": missed})
                    await say(self._letter(letter))
        return {"count": letters.count}

    def _letter(self, letter: DeadLetter) -> dict[str, Any]:
        return {
            "to": str(letter.ref.address),
            "reason": letter.reason.value,
            "message": self._form.encode(letter.message),
            "failures": [failure.describe() for failure in letter.failures],
        }

    @contextlib.asynccontextmanager
    async def _follower(
        self, begin: Callable[[ActorRef], None], finish: Callable[[ActorRef], None]
    ) -> AsyncIterator[AsyncIterable[tuple[int, Any]]]:
        """What an actor of its own is told from now on, as long as the block runs."""
        sending, receiving = trio.open_memory_channel[tuple[int, Any]](BUFFERED)
        follower = self._system.spawn(Follower, sending)
        try:
            begin(follower)
            with sending, receiving:
                yield receiving
        finally:
            finish(follower)
            follower.stop()


def _topic(text: str) -> str:
    """The address of a topic, which may be given without its scheme."""
    return str(Address.parse(text if "://" in text else f"topic://{text}"))
