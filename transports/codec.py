"""Messages to bytes and back: strict, and of registered types only.

A body is msgpack. Where msgspec handles a class natively and strictly, it does: it is the fastest
there is. It drops private attrs fields and ignores aliases, so classes with such fields take the
slower road through cattrs, whose own structuring of plain values (`"42"` to 42) is replaced by a
strict one. Nothing received is ever imported or executed: an unknown name is an error.

Layout: one byte, the length of the name; the name in UTF-8; two bytes, the version, big-endian;
the body. See docs/wire.md.
"""

from __future__ import annotations

import functools
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
from actors.errors import InvalidAddress, NotAMessage, brief
from actors.messages import MessageType, is_record, message_type, message_types
from transports.errors import DecodeError, NotEncodable
from transports.parts import find_fault
from transports.values import Decode, Encode, Values, one_of, records_of_union

VERSION: Final = struct.Struct(">H")
PATH: Final = re.compile(r" - at `(\$[^`]*)`$")

Resolve = Callable[[str], ActorRef]


class _Type:
    """One registered type: its header, and the road that it takes."""

    __slots__ = ("decode", "encode", "header", "registered")

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
        made = _Type(registered, *self._road(cls))
        self._by_class[cls] = made
        self._by_header[made.header] = made
        return made

    def _road(self, kind: Any) -> tuple[Encode, Decode]:
        """How values of one type become bytes, and again values.

        Raises:
            NotEncodable: the type has no form on the wire.
        """
        try:
            road = self._through_cattrs if needs_cattrs(kind) else self._through_msgspec
            return road(kind)
        except NameError as error:
            raise NotEncodable(
                kind, f"{error}: the types of its fields must be known where its module looks"
            ) from error

    # -- encoding and decoding

    def encode(self, message: object) -> bytes:
        """The bytes of a message.

        Raises:
            NotEncodable: its type is not one of this codec's, a field cannot be encoded, or it is
                too large.
        """
        known = self._by_class.get(message.__class__) or self._new(message)
        body = _encoded(message, known.encode)
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
            known = self._named(data)
        return _decoded(data[start:], known.decode)

    def encode_value(self, value: object, kind: Any = Any) -> bytes:
        """The bytes of any value: None, bool, int, float, str, bytes, list, dict, message or ref.

        kind: its type, if both sides know that, as of the reply to a `Request[T]`: then it is
            encoded as a field of that type would be, and may be whatever such a field may be. Not
            looked at yet is whether the value is one: whoever decodes it does.

        Raises:
            NotEncodable: the type or the value has no form on the wire, or is too large.
        """
        body = _encoded(value, self._kind(kind)[0])
        if len(body) > self._most:
            raise NotEncodable(value, f"it is too large: {len(body)} bytes")
        return body

    def decode_value(self, data: bytes, kind: Any = Any) -> Any:
        """The value that the bytes are; with `kind`, one of that very type.

        Raises:
            DecodeError: they are none.
            NotEncodable: the type has no form on the wire.
        """
        if len(data) > self._most:
            raise DecodeError("$", f"{len(data)} bytes are more than one value may have")
        return _decoded(data, self._kind(kind)[1])

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
                found = self._road(kind)
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

    # -- the two roads

    def _through_msgspec(self, cls: Any) -> tuple[Encode, Decode]:
        try:
            decoder: Any = msgspec.msgpack.Decoder(
                cls, dec_hook=self._decode_ref, ext_hook=_no_extension
            )
        except TypeError as error:
            raise NotEncodable(cls, str(error)) from error
        return msgspec.msgpack.Encoder(enc_hook=_encode_ref).encode, decoder.decode

    def _through_cattrs(self, cls: Any) -> tuple[Encode, Decode]:
        converter = _strict_converter()
        converter.register_structure_hook_func(
            lambda kind: isinstance(kind, type) and issubclass(kind, ActorRef),
            lambda value, kind: self._decode_ref(kind, value),
        )
        converter.register_unstructure_hook_func(
            lambda kind: isinstance(kind, type) and issubclass(kind, ActorRef), str
        )
        encoder = msgspec.msgpack.Encoder()
        decoder = msgspec.msgpack.Decoder(ext_hook=_no_extension)

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
    raise TypeError("it is none of the types that messages may have as fields")


def _no_extension(code: int, _: object) -> Any:
    raise ValueError(f"a field is of no such kind: extension {code}")


_FAULTS: Final = (
    NotEncodable,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    AttributeError,
)


def _encoded(value: object, encode: Encode) -> bytes:
    """`encode(value)`.

    Raises:
        NotEncodable: that is an error; it says which part of the value is to blame.
    """
    try:
        return encode(value)
    except NotEncodable:
        raise
    except RecursionError as error:
        raise NotEncodable(value, "it contains itself, or is nested too deep") from error
    except _FAULTS as error:
        path, part = find_fault(value, functools.partial(_is_good, encode))
        raise NotEncodable(
            value, f"{type(error).__name__}: {error}: {brief(part)}", path
        ) from error


def _is_good(encode: Encode, value: object) -> bool:
    try:
        encode(value)
    except _FAULTS:
        return False
    return True


def _decoded(data: bytes, decode: Decode) -> Any:
    """`decode(data)`.

    Raises:
        DecodeError: that is an error.
    """
    try:
        return decode(data)
    except DecodeError:
        raise
    except msgspec.MsgspecError as error:
        # A ValidationError says where, at its end.
        path = PATH.search(str(error))
        raise DecodeError(path[1] if path else "$", PATH.sub("", str(error))) from error
    except (ValueError, TypeError, OverflowError, RecursionError, KeyError) as error:
        # A validator of the class itself, a text that is no UTF-8, or too deep a nesting.
        raise DecodeError("$", f"{type(error).__name__}: {error}") from error


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
