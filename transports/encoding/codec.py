"""Messages to bytes and back: strict, and of registered types only.

A body is msgpack; `roads` makes it. Nothing received is ever imported or executed: an unknown name
is an error.

Layout: one byte, the length of the name; the name in UTF-8; two bytes, the version, big-endian;
the body. See docs/wire.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, Final

from actors import ActorRef
from actors.address import Address
from actors.errors import InvalidAddress, NotAMessage
from actors.messages import MessageType, is_record, message_type, message_types
from transports.encoding.roads import (
    DECODING_FAULTS,
    ENCODING_FAULTS,
    Decode,
    Encode,
    blame_bytes,
    blame_value,
    decode_or_blame,
    encode_or_blame,
    make_road,
)
from transports.encoding.values import MESSAGE, Values, one_of, records_of_union
from transports.errors import DecodeError, NotEncodable

VERSION: Final = struct.Struct(">H")

EXTENSION: Final = 0xC7
"""The first byte of an extension of msgpack whose length is one byte; see `values`."""
LEAST: Final = 6

Resolve = Callable[[str], ActorRef]


class _Type:
    """One registered type: its header, and the road that it takes."""

    __slots__ = ("decode", "encode", "header", "heads", "registered")

    def __init__(self, registered: MessageType, encode: Encode, decode: Decode) -> None:
        name = registered.name.encode()
        if len(name) > 255:
            raise NotEncodable(registered.cls, f"its name is longer than 255 bytes: {name!r}")
        if registered.version > 0xFFFF:
            raise NotEncodable(registered.cls, f"its version is above 65535: {registered.version}")
        self.registered = registered
        self.encode = encode
        self.decode = decode
        self.header = bytes([len(name)]) + name + VERSION.pack(registered.version)
        self.heads: dict[int, bytes] = {}
        """By the length of a body: what precedes it where the message is a value of its own."""


class Codec:
    """Encodes and decodes messages of the types given, which `@message` has registered.

    types: None: every class that `@message` has registered, also later; each is looked at when it
        is first used, and only then its errors are raised.
    resolve: from an address to a ref, for refs that are fields of messages (`system.at`). max_size:
        bytes of one encoded message; larger ones are refused on both sides.

    Raises:
        NotAMessage: a type lacks `@message`.
        NotEncodable: two types have the same name, or a type cannot be encoded.
        ValueError: `max_size` is no int from 1 up.
    """

    def __init__(
        self,
        types: Iterable[type] | None,
        *,
        resolve: Resolve | None = None,
        max_size: int = 1 << 24,
    ) -> None:
        if type(max_size) is not int or max_size < 1:
            raise ValueError(f"max_size is a number of bytes from 1 up: {max_size!r}")
        self._max_size = max_size
        # With the longest header that there can be.
        self._most = max_size + 258
        self._resolve = resolve
        self._by_class: dict[type, _Type] = {}
        self._by_header: dict[bytes, _Type] = {}
        # By the length of the name: the header and road of the type that was decoded last. No
        # other can begin with the same byte.
        self._latest: list[tuple[bytes, Decode]] = [(b"", bytes)] * 256
        self._values = Values(
            self.encode, self.decode, lambda text: self._decode_ref(ActorRef, text)
        )
        self._kinds: dict[Any, tuple[Encode, Decode]] = {}
        self._takes_all = types is None
        for cls in types or ():
            self._add(cls)

    def _add(self, cls: type) -> _Type:
        found = self._by_class.get(cls)
        if found is not None:
            return found
        registered = message_type(cls)
        namesakes = [known.registered for known in self._by_class.values()]
        if self._takes_all:
            namesakes = [*message_types(registered.name)]
            if registered not in namesakes:
                raise NotEncodable(
                    cls, "its class statement was run again: this class is the older"
                )
        for each in namesakes:
            if each.name == registered.name and each.cls is not cls:
                raise NotEncodable(
                    cls,
                    f"{each.cls.__module__}.{each.cls.__qualname__} is called {each.name!r} too: "
                    "give one of them @message(name=...)",
                )
        for known in tuple(self._by_class.values()):
            if known.registered.name == registered.name:
                # Of a class statement that was run again, this is the newer class.
                del self._by_class[known.registered.cls], self._by_header[known.header]
        made = _Type(registered, *make_road(cls, self._decode_ref))
        self._by_class[cls] = made
        self._by_header[made.header] = made
        # Also in the place of the older class.
        self._latest[made.header[0]] = (made.header, made.decode)
        return made

    # -- encoding and decoding

    def encode(self, message: object) -> bytes:
        """The bytes of a message.

        Raises:
            NotEncodable: its type is not one of this codec's, a field cannot be encoded, or it is
                too large.
        """
        known = self._by_class.get(message.__class__) or self._new(message)
        # By a local name: the interpreter (3.11) has no quick way to call what stands in a slot.
        encode = known.encode
        # As encode_or_blame, without the call.
        try:
            body = encode(message)
        except ENCODING_FAULTS as error:
            blame_value(error, message, encode)
        if len(body) > self._max_size:
            size = f"{len(body)} bytes, of {self._max_size} allowed"
            raise NotEncodable(message, f"it is too large: {size}")
        return known.header + body

    def decode(self, data: bytes) -> Any:
        """The message that the bytes are.

        Raises:
            DecodeError: they are none, or none of a known type and version.
        """
        size = len(data)
        if size > self._most:
            raise DecodeError("$", f"{size} bytes are more than one message may have")
        try:
            header, decode = self._latest[data[0]]
        except IndexError:
            raise self._unknown(data) from None
        # To compare a header costs less than to cut it out and hash it.
        body = data.removeprefix(header)
        if len(body) == size:
            header, decode = self._known(data)
            body = data[len(header) :]
        # As decode_or_blame, without the call.
        try:
            return decode(body)
        except DECODING_FAULTS as error:
            blame_bytes(error)

    def encode_value(self, value: object, kind: Any = Any) -> bytes:
        """The bytes of any value: None, bool, int, float, str, bytes, list, dict, message or ref.

        kind: its type, if both sides know that, as of the reply to a `Request[T]`: then it is
            encoded as a field of that type would be, and may be whatever such a field may be. Not
            looked at yet is whether the value is one: whoever decodes it does.

        Raises:
            NotEncodable: the type or the value has no form on the wire, or is too large.
        """
        if kind is Any:
            known = self._by_class.get(value.__class__)
            if known is not None:
                # As below, in one piece: most values are messages.
                encode = known.encode
                try:
                    body = encode(value)
                except ENCODING_FAULTS as error:
                    blame_value(error, value, encode)
                head = known.heads.get(len(body)) or self._head(known, len(body))
                if head:
                    return head + body
        body = encode_or_blame(value, self._kind(kind)[0])
        if len(body) > self._most:
            raise NotEncodable(value, f"it is too large: {len(body)} bytes")
        return body

    def decode_value(self, data: bytes, kind: Any = Any) -> Any:
        """The value that the bytes are; with `kind`, one of that very type.

        Raises:
            DecodeError: they are none.
            NotEncodable: the type has no form on the wire.
        """
        size = len(data)
        if kind is Any and size > LEAST and data[0] == EXTENSION and data[1] == size - 3:
            # As below, in one piece: a message of up to 255 bytes.
            header, decode = self._latest[data[3]]
            if header and data[2] == MESSAGE and data.startswith(header, 3) and size < self._most:
                try:
                    return decode(data[3 + len(header) :])
                except DECODING_FAULTS as error:
                    blame_bytes(error)
        if size > self._most:
            raise DecodeError("$", f"{size} bytes are more than one value may have")
        return decode_or_blame(data, self._kind(kind)[1])

    def _head(self, known: _Type, size: int) -> bytes:
        """What precedes a body of that size in a value; b"": it is not to be had so easily."""
        whole = len(known.header) + size
        # (Of 1, 2, 4, 8 and 16 bytes msgpack has extensions of their own.)
        if whole in {1, 2, 4, 8, 16} or whole > 255 or size > self._max_size:
            return b""
        head = known.heads[size] = bytes([EXTENSION, whole, MESSAGE]) + known.header
        return head

    def _kind(self, kind: Any) -> tuple[Encode, Decode]:
        found = self._kinds.get(kind)
        if found is None:
            values = self._values
            if kind is Any or kind is object:
                found = (values.encode, values.decode)
            elif len(records_of_union(kind)) > 1:
                # As a field it could not be told which of them it is.
                found = (values.encode, one_of(kind, values.decode, self._decode_ref))
            else:
                found = make_road(kind, self._decode_ref)
            self._kinds[kind] = found
        return found

    # -- what is not known yet

    def _new(self, message: object) -> _Type:
        """The type of a message that is the first one of its class, if all classes are taken."""
        if isinstance(message, type):
            raise NotEncodable(message, f"it is a class: send an instance, {message.__name__}()")
        cls = message.__class__
        if not self._takes_all:
            raise NotEncodable(message, "its type is not one that this system exchanges with peers")
        try:
            return self._add(cls)
        except NotAMessage:
            what = "put @message above its class" if is_record(cls) else "send a @message class"
            raise NotEncodable(
                message, f"its class is no message, nor a builtin kind that can be sent: {what}"
            ) from None

    def _known(self, data: bytes) -> tuple[bytes, Decode]:
        """The header that the bytes begin with, and the road of its type.

        Raises:
            DecodeError: it is of no known type and version.
        """
        # The whole header is the key: name and version are looked at only if it is not known.
        header = data[: data[0] + 3]
        known = self._by_header.get(header) or self._named(data)
        self._latest[data[0]] = found = (header, known.decode)
        return found

    def _named(self, data: bytes) -> _Type:
        """The type that a header names, if it has not been used before.

        Raises:
            DecodeError: there is none, or more than one.
        """
        if self._takes_all and data and len(data) >= data[0] + 3:
            name = data[1 : 1 + data[0]].decode(errors="replace")
            try:
                for registered in message_types(name):
                    self._add(registered.cls)
            except NotEncodable as error:
                raise DecodeError("$", str(error)) from error
            known = self._by_header.get(data[: data[0] + 3])
            if known is not None:
                return known
        raise self._unknown(data)

    def _unknown(self, data: bytes) -> DecodeError:
        """Why a header is none of those known."""
        if not data or len(data) < data[0] + 3:
            return DecodeError("$", "it ends within its header")
        name = data[1 : 1 + data[0]]
        (version,) = VERSION.unpack_from(data, 1 + data[0])
        for known in self._by_class.values():
            registered = known.registered
            if registered.name.encode() == name:
                return DecodeError(
                    "$",
                    f"version {version} of {registered.name}, of which version "
                    f"{registered.version} is known here",
                )
        return DecodeError("$", f"no message is called {name!r} here")

    def _decode_ref(self, kind: type, value: Any) -> Any:
        if not issubclass(kind, ActorRef):
            raise TypeError(f"{kind!r} has no form on the wire")
        if not isinstance(value, str):
            raise ValueError(f"Expected an address, got `{type(value).__name__}`")  # noqa: TRY004
        if self._resolve is None:
            raise ValueError("a ref came, and this codec resolves none")
        try:
            return self._resolve(str(Address.parse(value)))
        except InvalidAddress as error:
            raise ValueError(str(error)) from error
