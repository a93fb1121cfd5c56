"""Messages through the codec and back, in one process: for ActorSystem(strict_messages=True)."""

from __future__ import annotations

from typing import Any

from actors.errors import brief
from actors.messages import reply_type
from transports.encoding.codec import Codec, Resolve
from transports.encoding.parts import find_change
from transports.errors import DecodeError, NotEncodable


class RoundTrip:
    """The round trip of one system, of all classes that `@message` has registered.

    resolve: from an address to a ref (`system.at`).
    """

    def __init__(self, resolve: Resolve) -> None:
        self._codec = Codec(None, resolve=resolve)

    def message(self, message: object) -> Any:
        """The message as another process would get it.

        Raises:
            NotEncodable: it cannot be encoded, or what comes back is not the same.
        """
        return self._there_and_back(message, Any)

    def reply(self, value: object, request: object) -> Any:
        """A reply, decoded as what `Request[T]` declares if the request is one.

        Raises:
            NotEncodable: as `message`.
        """
        kind = reply_type(type(request))
        try:
            return self._there_and_back(value, kind)
        except NotEncodable as error:
            name = type(request).__name__
            declared = "" if kind is Any else f", a Request[{_name_of(kind)}]"
            why = f"as the reply to {name}{declared}: {error.why}"
            raise NotEncodable(value, why, error.path) from error

    def _there_and_back(self, value: object, kind: Any) -> Any:
        data = self._codec.encode_value(value, kind)
        try:
            got = self._codec.decode_value(data, kind)
        except DecodeError as error:
            why = f"whoever gets it could not decode it: {error.why}"
            raise NotEncodable(value, why, error.path) from error
        change = find_change(value, got)
        if change is not None:
            path, before, after = change
            raise NotEncodable(
                value,
                f"{brief(before)} would come back as {brief(after)}: say its type in the "
                "annotation of the field, or send what comes back the same",
                path,
            )
        return got


def _name_of(kind: Any) -> str:
    return kind.__name__ if type(kind) is type else str(kind)
