"""JetStream: messages that are stored in streams, and given out by pull consumers."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, inf
from typing import Any, Final

import msgspec
import trio

from transports.nats.client import Client
from transports.nats.consumer import Consumer
from transports.nats.errors import ApiError, NoResponders, ProtocolFault
from transports.nats.jetstream_types import ConsumerConfig, PubAck, StreamConfig, StreamInfo
from transports.nats.jetstream_types import check_name as check
from transports.nats.protocol import Message

AGAIN: Final = 2
AGAIN_AFTER: Final = 0.25
"""Seconds between attempts when nobody answers, as while a leader is elected: nobody has it."""


class JetStream:
    """The streams of the account of a client.

    domain: of JetStream, "": the server's. timeout: seconds for each answer.

    What is asked may raise, besides what is said where it is asked:
        ApiError: JetStream has refused.
        NoResponders: the servers have no JetStream, or none leads it now.
        RequestTimeout, OutcomeUnknown: nobody knows whether it was done.
    """

    def __init__(self, client: Client, *, domain: str = "", timeout: float = 5.0) -> None:
        self.client = client
        self.timeout = timeout
        self.prefix = f"$JS.{check(domain, 'domain')}.API" if domain else "$JS.API"

    async def publish(
        self,
        subject: str,
        data: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = None,
        ttl: float | None = None,
        expected_stream: str | None = None,
        expected_last_sequence: int | None = None,
        expected_last_subject_sequence: int | None = None,
        expected_last_message_id: str | None = None,
        timeout: float | None = None,
    ) -> PubAck:
        """Have a stream store a message; it is stored when this returns.

        message_id: a second one with it is no second message, within the stream's window. ttl: as
        `ttl_header`. expected_...: it is stored only if that is so.

        Raises:
            NoResponders: no stream takes that subject.
            ApiError: something is not as expected, or the stream is full.
            RequestTimeout, OutcomeUnknown: nobody knows whether it is stored.
            ValueError: the ttl is below a second.
        """
        expected = {
            "Nats-Msg-Id": message_id,
            "Nats-TTL": None if ttl is None else ttl_header(ttl),
            "Nats-Expected-Stream": expected_stream,
            "Nats-Expected-Last-Sequence": expected_last_sequence,
            "Nats-Expected-Last-Subject-Sequence": expected_last_subject_sequence,
            "Nats-Expected-Last-Msg-Id": expected_last_message_id,
        }
        all_headers = dict(headers or {})
        for name, value in expected.items():
            if value is not None:
                all_headers[name] = str(value)
        answer = _answer(await self.request(subject, data, all_headers, timeout))
        try:
            return PubAck(
                str(answer["stream"]), int(answer["seq"]), bool(answer.get("duplicate", False))
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolFault(f"an answer of JetStream lacks {error}") from None

    async def create_stream(self, config: StreamConfig) -> StreamInfo:
        """Make a stream; no error if it is there with the same configuration."""
        data = await self.api(f"STREAM.CREATE.{config.name}", config.to_json())
        return StreamInfo.of_json(data)

    async def update_stream(self, config: StreamConfig) -> StreamInfo:
        """Change a stream."""
        data = await self.api(f"STREAM.UPDATE.{config.name}", config.to_json())
        return StreamInfo.of_json(data)

    async def stream_info(self, stream: str) -> StreamInfo:
        """What a stream is, and has. An ApiError of code 404: there is none."""
        return StreamInfo.of_json(await self.api(f"STREAM.INFO.{check(stream, 'stream')}"))

    async def delete_stream(self, stream: str) -> None:
        """Delete a stream with all that it has. An ApiError of code 404: there is none."""
        await self.api(f"STREAM.DELETE.{check(stream, 'stream')}")

    async def purge_stream(self, stream: str, *, subject: str = "", keep: int = 0) -> int:
        """Delete its messages, or those of a subject, but the last `keep`; how many that were."""
        what: dict[str, Any] = {}
        if subject:
            what["filter"] = subject
        if keep:
            what["keep"] = keep
        answer = await self.api(f"STREAM.PURGE.{check(stream, 'stream')}", what)
        return int(answer.get("purged", 0))

    async def create_consumer(self, stream: str, config: ConsumerConfig) -> Consumer:
        """Make a consumer, or change the one of that name."""
        await self.api(
            f"CONSUMER.CREATE.{check(stream, 'stream')}.{config.name}",
            {"stream_name": stream, "config": config.to_json()},
        )
        return self.consumer(stream, config.name)

    def consumer(self, stream: str, name: str) -> Consumer:
        """A consumer that is there already; nobody is asked whether it is."""
        return Consumer(self, check(stream, "stream"), check(name, "consumer"))

    async def delete_consumer(self, stream: str, name: str) -> None:
        """Delete a consumer. An ApiError of code 404: there is none."""
        await self.api(f"CONSUMER.DELETE.{check(stream, 'stream')}.{check(name, 'consumer')}")

    async def api(
        self, what: str, data: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        """Ask the API something that has no method here.

        Raises:
            ApiError: it has refused.
        """
        body = b"" if data is None else msgspec.json.encode(data)
        return _answer(await self.request(f"{self.prefix}.{what}", body, None, timeout))

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Message:
        """`Client.request`, and again while nobody answers, which may be because a leader is
        elected.
        """
        within = self.timeout if timeout is None else timeout
        for _ in range(AGAIN):
            try:
                return await self.client.request(subject, data, timeout=within, headers=headers)
            except NoResponders:
                await trio.sleep(AGAIN_AFTER)
        return await self.client.request(subject, data, timeout=within, headers=headers)


def ttl_header(seconds: float) -> str:
    """How long a message is to live, as its header says it: in whole seconds, rounded up.

    Raises:
        ValueError: below a second, which servers refuse.
    """
    if not 1 <= seconds < inf:
        raise ValueError(f"ttl: seconds, from 1 up, not {seconds!r}")
    # Servers drop the fraction: a lease would end before whoever holds it stops.
    return f"{ceil(seconds)}s"


def _answer(message: Message) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(message.data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolFault(f"an answer of JetStream: {error}") from None
    refused = answer.get("error")
    if isinstance(refused, dict):
        code, err_code = refused.get("code", 0), refused.get("err_code", 0)
        raise ApiError(code, err_code, str(refused.get("description", "")))
    return answer
