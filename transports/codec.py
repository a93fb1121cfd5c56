"""Messages to bytes and back: strict, and of registered types only.

A body is msgpack. Where msgspec handles a class natively and strictly, it does: it is the fastest
there is. It drops private attrs fields and ignores aliases, so classes with such fields take the
slower road through cattrs, whose own structuring of plain values (`"42"` to 42) is replaced by a
strict one. Nothing received is ever imported or executed: an unknown name is an error.

Layout: one byte, the length of the name; the name in UTF-8; two bytes, the version, big-endian;
the body. See docs/wire.md.
"""

from __future__ import annotations

import re
import struct
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import attrs
import cattrs
import msgspec

from actors import ActorRef
from actors.address import Address
from actors.errors import InvalidAddress
from actors.messages import MessageType, message_type
from transports.errors import DecodeError, NotEncodable

VERSION: Final = struct.Struct(">H")
PATH: Final = re.compile(r" - at `(\$[^`]*)`$")

Resolve = Callable[[str], ActorRef]


class _Type:
    """One registered type: its header, and the road that it takes."""

    __slots__ = ("decode", "encode", "header", "registered")

    def __init__(
        self,
        registered: MessageType,
        encode: Callable[[Any], bytes],
        decode: Callable[[bytes], Any],
    ) -> None:
        name = registered.name.encode()
        if len(name) > 255:
            raise NotEncodable(registered.cls, f"its name is longer than 255 bytes: {name!r}")
        if registered.version > 0xFFFF:
            raise NotEncodable(registered.cls, f"its version is above 65535: {registered.version}")
        self.registered = registered
        self.encode = encode
        self.decode = decode
        self.header = bytes([len(name)]) + name + VERSION.pack(registered.version)


class Codec:
    """Encodes and decodes messages of the types given, which `@message` has registered.

    resolve: from an address to a ref, for refs that are fields of messages (`system.at`). max_size:
        bytes of one encoded message; larger ones are refused on both sides.

    Raises:
        NotAMessage: a type lacks `@message`.
        NotEncodable: two types have the same name, or a type cannot be encoded.
        ValueError: `max_size` is no int from 1 up.
    """

    def __init__(
        self, types: Iterable[type], *, resolve: Resolve | None = None, max_size: int = 1 << 24
    ) -> None:
        if type(max_size) is not int or max_size < 1:
            raise ValueError(f"max_size is a number of bytes from 1 up: {max_size!r}")
        self._max_size = max_size
        # With the longest header that there can be.
        self._most = max_size + 258
        self._resolve = resolve
        self._by_class: dict[type, _Type] = {}
        self._by_header: dict[bytes, _Type] = {}
        for cls in types:
            self._add(cls)

    def _add(self, cls: type) -> None:
        if cls in self._by_class:
            return
        registered = message_type(cls)
        for known in self._by_class.values():
            if known.registered.name == registered.name:
                other = known.registered.cls
                raise NotEncodable(
                    cls,
                    f"{other.__module__}.{other.__qualname__} is called {registered.name!r} too: "
                    "give one of them @message(name=...)",
                )
        road = self._through_cattrs if needs_cattrs(cls) else self._through_msgspec
        made = _Type(registered, *road(cls))
        self._by_class[cls] = made
        self._by_header[made.header] = made

    # -- encoding and decoding

    def encode(self, message: object) -> bytes:
        """The bytes of a message.

        Raises:
            NotEncodable: its type is not one of this codec's, a field cannot be encoded, or it is
                too large.
        """
        known = self._by_class.get(message.__class__)
        if known is None:
            raise NotEncodable(message, "its type is not one that this system exchanges with peers")
        try:
            body = known.encode(message)
        except NotEncodable:
            raise
        except (TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
            raise NotEncodable(message, f"{type(error).__name__}: {error}") from error
        if len(body) > self._max_size:
            size = f"{len(body)} bytes, of {self._max_size} allowed"
            raise NotEncodable(message, f"it is too large: {size}")
        return known.header + body

    def decode(self, data: bytes) -> Any:
        """The message that the bytes are.

        Raises:
            DecodeError: they are none, or none of a known type and version.
        """
        if len(data) > self._most:
            raise DecodeError("$", f"{len(data)} bytes are more than one message may have")
        # The whole header is the key: name and version are looked at only if it is not known.
        start = data[0] + 3 if data else 0
        known = self._by_header.get(data[:start])
        if known is None:
            raise self._unknown(data)
        try:
            return known.decode(data[start:])
        except DecodeError:
            raise
        except msgspec.MsgspecError as error:
            # A ValidationError says where, at its end.
            path = PATH.search(str(error))
            raise DecodeError(path[1] if path else "$", PATH.sub("", str(error))) from error
        except (ValueError, TypeError, OverflowError, RecursionError, KeyError) as error:
            # A validator of the class itself, a text that is no UTF-8, or too deep a nesting.
            raise DecodeError("$", f"{type(error).__name__}: {error}") from error

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

    # -- the two roads

    def _through_msgspec(self, cls: type) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
        try:
            decoder: Any = msgspec.msgpack.Decoder(cls, dec_hook=self._decode_ref)
        except TypeError as error:
            raise NotEncodable(cls, str(error)) from error
        return msgspec.msgpack.Encoder(enc_hook=_encode_ref).encode, decoder.decode

    def _through_cattrs(self, cls: type) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
        converter = _strict_converter()
        converter.register_structure_hook_func(
            lambda kind: isinstance(kind, type) and issubclass(kind, ActorRef),
            lambda value, kind: self._decode_ref(kind, value),
        )
        converter.register_unstructure_hook_func(
            lambda kind: isinstance(kind, type) and issubclass(kind, ActorRef), str
        )
        encoder = msgspec.msgpack.Encoder()
        decoder = msgspec.msgpack.Decoder()

        def encode(message: Any) -> bytes:
            return encoder.encode(converter.unstructure(message))

        def decode(body: bytes) -> Any:
            plain = decoder.decode(body)
            try:
                return converter.structure(plain, cls)
            except cattrs.BaseValidationError as group:
                where, why = next(_first_fault(group, "$"))
                raise DecodeError(where, why) from group

        return encode, decode

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


def _encode_ref(value: Any) -> Any:
    if isinstance(value, ActorRef):
        return str(value.address)
    raise NotEncodable(value, "it is none of the types that messages may have as fields")


def needs_cattrs(cls: type) -> bool:
    """Whether msgspec would lose something of the class, or of a class in its fields."""
    return any(_loses(each) for each in _records_in(cls, {}))


def _loses(cls: type) -> bool:
    fields = attrs.fields(cls) if attrs.has(cls) else ()
    return any(
        field.name.startswith("_") or not field.init or (field.alias or field.name) != field.name
        for field in fields
    )


def _records_in(kind: Any, seen: dict[Any, None]) -> Iterator[type]:
    """The classes with fields that a type is made of, itself among them."""
    if isinstance(kind, type) and kind not in seen:
        seen[kind] = None
        if attrs.has(kind) or hasattr(kind, "__dataclass_fields__"):
            yield kind
            for hint in typing.get_type_hints(kind).values():
                yield from _records_in(hint, seen)
    for inner in typing.get_args(kind):
        yield from _records_in(inner, seen)


def _strict_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)
    for kind in (str, int, bool, bytes):
        converter.register_structure_hook(kind, _exactly(kind))
    converter.register_structure_hook(float, _number)
    return converter


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")
        return value

    return structure


def _number(value: Any, _: Any) -> float:
    if type(value) not in (float, int):
        raise TypeError(f"Expected `float`, got `{type(value).__name__}`")
    return float(value)


def _first_fault(error: BaseException, path: str) -> Iterator[tuple[str, str]]:
    """Where and why, of the first leaf of cattrs' groups."""
    if isinstance(error, cattrs.BaseValidationError):
        for inner in error.exceptions:
            for note in getattr(inner, "__notes__", ()):
                name = getattr(note, "name", None)
                index = getattr(note, "index", None)
                if name is not None:
                    yield from _first_fault(inner, f"{path}.{name}")
                elif index is not None:
                    yield from _first_fault(inner, f"{path}[{index!r}]")
            yield from _first_fault(inner, path)
    yield path, f"{type(error).__name__}: {error}" if not error.args else str(error)
