"""How values of one type become bytes, and again values: the two roads.

Where msgspec handles a type natively and strictly, it does: it is the fastest there is. It drops
private attrs fields and ignores aliases, so types with such fields take the slower road through
cattrs, whose own structuring of plain values (`"42"` to 42) is replaced by a strict one.
"""

from __future__ import annotations

import binascii
import functools
import re
import typing
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final, NoReturn

import attrs
import cattrs
import msgspec

from actors import ActorRef
from actors.errors import brief
from transports.encoding.parts import find_fault
from transports.errors import DecodeError, NotEncodable

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]
DecodeRef = Callable[[type, Any], Any]
Form = ModuleType
MSGPACK: Final[Form] = msgspec.msgpack
JSON: Final[Form] = msgspec.json

PATH: Final = re.compile(r" - at `(\$[^`]*)`$")


def make_road(kind: Any, decode_ref: DecodeRef, form: Form = MSGPACK) -> tuple[Encode, Decode]:
    """How values of one type become bytes, and again values.

    form: MSGPACK, as between nodes; or JSON, for people, where bytes are text in base64.

    Raises:
        NotEncodable: the type has no form on the wire.
    """
    try:
        road = _through_cattrs if needs_cattrs(kind) else _through_msgspec
        return road(kind, decode_ref, form)
    except NameError as error:
        raise NotEncodable(
            kind, f"{error}: the types of its fields must be known where its module looks"
        ) from error
    except (TypeError, cattrs.StructureHandlerNotFoundError) as error:
        raise NotEncodable(kind, str(error)) from error


def _through_msgspec(cls: Any, decode_ref: DecodeRef, form: Form) -> tuple[Encode, Decode]:
    decoder: Any
    if form is JSON:
        decoder = msgspec.json.Decoder(cls, dec_hook=decode_ref)
    else:
        decoder = msgspec.msgpack.Decoder(cls, dec_hook=decode_ref, ext_hook=_no_extension)
    return form.Encoder(enc_hook=_encode_ref).encode, decoder.decode


def _through_cattrs(cls: Any, decode_ref: DecodeRef, form: Form) -> tuple[Encode, Decode]:
    converter = _strict_converter()
    if form is JSON:
        converter.register_structure_hook(bytes, _from_base64)
    converter.register_structure_hook_func(
        lambda kind: isinstance(kind, type) and issubclass(kind, ActorRef),
        lambda value, kind: decode_ref(kind, value),
    )
    converter.register_unstructure_hook_func(
        lambda kind: isinstance(kind, type) and issubclass(kind, ActorRef), str
    )
    converter.get_structure_hook(cls)
    encoder = form.Encoder()
    decoder: Any
    if form is JSON:
        decoder = msgspec.json.Decoder()
    else:
        decoder = msgspec.msgpack.Decoder(ext_hook=_no_extension)

    def encode(message: Any) -> bytes:
        return bytes(encoder.encode(converter.unstructure(message)))

    def decode(body: bytes) -> Any:
        plain = decoder.decode(body)
        try:
            return converter.structure(plain, cls)
        except cattrs.BaseValidationError as group:
            where, why = next(_first_fault(group, "$"))
            raise DecodeError(where, why) from group

    return encode, decode


def _encode_ref(value: Any) -> Any:
    if isinstance(value, ActorRef):
        return str(value.address)
    raise TypeError("it is none of the types that messages may have as fields")


def _no_extension(code: int, _: object) -> Any:
    raise ValueError(f"a field is of no such kind: extension {code}")


ENCODING_FAULTS: Final = (
    NotEncodable,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    AttributeError,
)
# A text that is no UTF-8, too deep a nesting, or whatever a validator of the class raises: a user's
# code, which runs on a peer's bytes and must not end this node.
DECODING_FAULTS: Final = Exception


def encode_or_blame(value: object, encode: Encode) -> bytes:
    """`encode(value)`.

    Raises:
        NotEncodable: that is an error; it says which part of the value is to blame.
    """
    try:
        return encode(value)
    except ENCODING_FAULTS as error:
        blame_value(error, value, encode)


def blame_value(error: Exception, value: object, encode: Encode) -> NoReturn:
    """Raises NotEncodable for the error of `encode(value)`: which part of it is to blame."""
    if isinstance(error, NotEncodable):
        if error.value is value:
            raise error
        # Of something inside; its sender knows the whole.
        inner = error.value if isinstance(error.value, type) else type(error.value)
        why = error.why if inner is type(value) else f"{inner.__name__}: {error.why}"
        raise NotEncodable(value, why, error.path) from error
    if isinstance(error, RecursionError):
        raise NotEncodable(value, "it contains itself, or is nested too deep") from error
    path, part = find_fault(value, functools.partial(_is_good, encode))
    raise NotEncodable(value, f"{type(error).__name__}: {error}: {brief(part)}", path) from error


def _is_good(encode: Encode, value: object) -> bool:
    try:
        encode(value)
    except ENCODING_FAULTS:
        return False
    return True


def decode_or_blame(data: bytes, decode: Decode) -> Any:
    """`decode(data)`.

    Raises:
        DecodeError: that is an error.
    """
    try:
        return decode(data)
    except DECODING_FAULTS as error:
        blame_bytes(error)


def blame_bytes(error: Exception) -> NoReturn:
    """Raises DecodeError for the error that bytes were decoded with."""
    if isinstance(error, DecodeError):
        raise error
    if isinstance(error, msgspec.MsgspecError):
        # A ValidationError says where, at its end.
        path = PATH.search(str(error))
        raise DecodeError(path[1] if path else "$", PATH.sub("", str(error))) from error
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


def _from_base64(value: Any, _: Any) -> bytes:
    if type(value) is not str:
        raise TypeError(f"Expected base64 in a `str`, got `{type(value).__name__}`")
    return binascii.a2b_base64(value, strict_mode=True)


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
