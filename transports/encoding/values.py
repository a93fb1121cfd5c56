"""Any value as msgpack: the builtin kinds, messages and refs; or one of a type that is declared.

A message is msgpack's extension 1, a ref is its extension 2; the rest is what msgpack has itself.
So what comes out of the bytes is what the sender had, or an error: never another class, and never
a tuple that has become a list. See docs/wire.md.
"""

from __future__ import annotations

import functools
import operator
import types
import typing
from collections.abc import Callable
from typing import Any, Final

import msgspec

from actors import ActorRef
from actors.messages import is_record
from transports.encoding.roads import Decode, DecodeRef, Encode
from transports.errors import DecodeError, NotEncodable

MESSAGE: Final = 1
REF: Final = 2
SCALARS: Final = (type(None), bool, int, float, str, bytes)

_encode_plain = msgspec.msgpack.Encoder().encode
_decode_plain = msgspec.msgpack.Decoder().decode


class Values:
    """Values of no declared type. `encode` and `decode` are a codec's for messages."""

    def __init__(self, encode: Encode, decode: Decode, resolve: Callable[[Any], ActorRef]) -> None:
        self._message_to_bytes = encode
        self._bytes_to_message = decode
        self._resolve = resolve

    def encode(self, value: Any) -> bytes:
        """The bytes of a value.

        Raises:
            NotEncodable: it, or something in it, has no form on the wire.
        """
        return _encode_plain(self._to_plain(value))

    def decode(self, data: bytes) -> Any:
        """The value that the bytes are.

        Raises:
            DecodeError: they are none.
        """
        return self._from_plain(_decode_plain(data))

    def _to_plain(self, value: Any) -> Any:
        cls = type(value)
        if cls in SCALARS:
            return value
        if cls is list:
            return [self._step(self._to_plain, each, n) for n, each in enumerate(value)]
        if cls is dict:
            for key in value:
                if type(key) not in SCALARS:
                    raise NotEncodable(value, f"a key is a {type(key).__name__}: {key!r}")
            return {key: self._step(self._to_plain, each, key) for key, each in value.items()}
        if isinstance(value, ActorRef):
            return msgspec.msgpack.Ext(REF, str(value.address).encode())
        if cls is tuple:
            raise NotEncodable(
                value,
                "a tuple would come back as a list: send a list, or put it into a field of a "
                "message (or a reply) whose type says tuple",
            )
        return msgspec.msgpack.Ext(MESSAGE, self._message_to_bytes(value))

    def _from_plain(self, plain: Any) -> Any:
        cls = type(plain)
        if cls in SCALARS:
            return plain
        if cls is list:
            return [self._step(self._from_plain, each, n) for n, each in enumerate(plain)]
        if cls is dict:
            for key in plain:
                if type(key) not in SCALARS:
                    raise DecodeError("$", f"a key is a {type(key).__name__}")
            return {key: self._step(self._from_plain, each, key) for key, each in plain.items()}
        if cls is msgspec.msgpack.Ext and plain.code == MESSAGE:
            return self._bytes_to_message(bytes(plain.data))
        if cls is msgspec.msgpack.Ext and plain.code == REF:
            try:
                return self._resolve(bytes(plain.data).decode())
            except ValueError as error:
                raise DecodeError("$", str(error)) from error
        what = f"extension {plain.code}" if cls is msgspec.msgpack.Ext else cls.__name__
        raise DecodeError("$", f"no value is of that kind: {what}")

    @staticmethod
    def _step(convert: Callable[[Any], Any], inner: Any, key: object) -> Any:
        """Convert what is inside a list or dict; an error says where."""
        try:
            return convert(inner)
        except NotEncodable as error:
            path = f"$[{key!r}]{error.path[1:]}"
            raise NotEncodable(error.value, error.why, path) from error.__cause__
        except DecodeError as error:
            raise DecodeError(f"$[{key!r}]{error.path[1:]}", error.why) from error.__cause__


def records_of_union(kind: Any) -> list[type]:
    """The classes with fields that a union has as members; none of what is no union."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return []
    return [each for each in typing.get_args(kind) if isinstance(each, type) and is_record(each)]


def one_of(kind: Any, decode: Decode, decode_ref: DecodeRef) -> Decode:
    """`decode` values of no declared type, but only those of a union with several records."""
    records = records_of_union(kind)
    others = [each for each in typing.get_args(kind) if each not in records]
    rest: Any = functools.reduce(operator.or_, others) if others else None

    def check(data: bytes) -> Any:
        value = decode(data)
        if type(value) in records:
            return value
        if rest is None:
            raise DecodeError("$", f"Expected `{kind}`, got `{type(value).__name__}`")
        return msgspec.convert(value, rest, strict=True, dec_hook=decode_ref)

    return check
