"""Messages as JSON, for people and their scripts: from a name and fields to a message, and back.

The same roads as between nodes (`roads`), so as strict: only registered types, only values of the
declared types, and an error says which field it is about. Bytes are base64, refs are addresses.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Final

import attrs
import msgspec

from actors import ActorRef
from actors.address import Address
from actors.errors import ActorError, InvalidAddress, brief
from actors.messages import message_names, message_type, message_types
from transports.encoding.parts import field_names
from transports.encoding.roads import JSON, Decode, Encode, decode_or_blame, make_road
from transports.errors import DecodeError, NotEncodable

Resolve = Callable[[str], ActorRef]

SHOWN: Final = 10_000
"""Characters shown of what has no form as JSON."""


class NoSuchMessage(ActorError, LookupError):
    """No message of that name is registered here, or several are. Attributes: `name`, `why`."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self.why = why
        super().__init__(why)


class JsonForm:
    """Messages from JSON and back, of all types that `@message` has registered.

    resolve: from an address to a ref, for refs that are fields (`system.at`).
    """

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._roads: dict[type, tuple[Encode, Decode]] = {}

    def decode(self, name: str, fields: bytes) -> Any:
        """The message of that name, with these fields: a JSON object.

        Raises:
            NoSuchMessage: none or several types have that name.
            DecodeError: the fields are not those of such a message; `path` says where.
        """
        cls = find_message(name)
        try:
            decode = self._road(cls)[1]
        except NotEncodable as error:
            raise DecodeError("$", str(error)) from error
        try:
            given = msgspec.json.decode(fields)
        except (msgspec.DecodeError, RecursionError) as error:
            raise DecodeError("$", f"no JSON: {error}") from error
        if not isinstance(given, dict):
            raise DecodeError("$", f"the fields of a message are an object, not {brief(given, 50)}")
        message = decode_or_blame(fields, decode)
        known = field_names(cls)
        aliases = [field.alias for field in attrs.fields(cls)] if attrs.has(cls) else []
        aliases += getattr(cls, "__struct_encode_fields__", ())
        for key in given:
            if key not in known and key not in aliases:
                has = f"it has {', '.join(known)}" if known else "it has no fields"
                raise DecodeError(f"$.{key}", f"{name} has no such field; {has}")
        return message

    def encode(self, value: object) -> msgspec.Raw:
        """Any value as JSON, for showing it. A message is `{"name", "version", "fields"}`.

        What has no form as JSON is `{"repr": ...}`; it never raises.
        """
        cls = type(value)
        try:
            registered = message_type(cls)
        except ActorError:
            return msgspec.Raw(_encode_any(value))
        try:
            fields = self._road(cls)[0](value)
        except (ActorError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
            fields = _as_repr(value)
        return msgspec.Raw(
            msgspec.json.encode(
                {
                    "name": registered.name,
                    "version": registered.version,
                    "fields": msgspec.Raw(fields),
                }
            )
        )

    def _road(self, cls: type) -> tuple[Encode, Decode]:
        found = self._roads.get(cls)
        if found is None:
            found = self._roads[cls] = make_road(cls, self._decode_ref, JSON)
        return found

    def _decode_ref(self, kind: type, value: Any) -> Any:
        if not issubclass(kind, ActorRef):
            raise TypeError(f"{kind!r} has no form as JSON")
        if not isinstance(value, str):
            raise ValueError(f"Expected an address, got `{type(value).__name__}`")  # noqa: TRY004
        try:
            return self._resolve(str(Address.parse(value)))
        except InvalidAddress as error:
            raise ValueError(str(error)) from error


def find_message(name: str) -> type:
    """The class of messages that is registered under a name.

    Raises:
        NoSuchMessage: none or several are.
    """
    found = message_types(name)
    if len(found) == 1:
        return found[0].cls
    if found:
        where = ", ".join(f"{each.cls.__module__}.{each.cls.__qualname__}" for each in found)
        raise NoSuchMessage(name, f"several messages are called {name!r} here: {where}")
    near = difflib.get_close_matches(name, message_names(), n=3)
    hint = f"; there is {', '.join(near)}" if near else ""
    raise NoSuchMessage(name, f"no message is called {name!r} here{hint}")


def _encode_any(value: object) -> bytes:
    try:
        return msgspec.json.encode(value, enc_hook=_encode_ref)
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return _as_repr(value)


def _encode_ref(value: Any) -> Any:
    return str(value.address) if isinstance(value, ActorRef) else brief(value)


def _as_repr(value: object) -> bytes:
    return msgspec.json.encode({"repr": brief(value, SHOWN)})
