"""What actors say to each other: `@message` classes, and requests that are typed by their reply."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from typing import Any, Final, Generic, TypeVar, dataclass_transform, overload

import attrs
import msgspec

from actors.errors import NotAMessage

ReplyT_co = TypeVar("ReplyT_co", covariant=True)
ClassT = TypeVar("ClassT", bound=type)


class Request(Generic[ReplyT_co]):
    """Base of a message that is asked; its parameter is the type of the reply.

        @message
        class Balance(Request[int]):
            "Ask for the balance; the reply is an int."

    `await ref.ask(Balance())` is then an int to a type checker.

    Raises:
        NotAMessage: an instance is made of a subclass that lacks `@message` (and is no
            dataclass, attrs class or Struct either).
    """

    __slots__ = ()

    def __init__(self, *_: object, **__: object) -> None:
        # Every decorated class has an __init__ of its own, so only a bare subclass comes here.
        raise NotAMessage(
            type(self), f"is no message yet: put @message above `class {type(self).__name__}`"
        )


_UNKNOWN: Final = object()


class MessageType:
    """What is registered of a message class: `cls`, `name` (as peers will know it), `version`."""

    __slots__ = ("cls", "name", "reply", "version")

    def __init__(self, cls: type, name: str, version: int) -> None:
        self.cls = cls
        self.name = name
        self.version = version
        # See `reply_type`, which looks for it once.
        self.reply: Any = _UNKNOWN


ITERATORS: Final = (AsyncIterator, AsyncIterable, AsyncGenerator)

_registered: Final[dict[type, MessageType]] = {}
_by_name: Final[dict[str, list[type]]] = {}


def message_type(cls: type) -> MessageType:
    """What `@message` registered of a class.

    Raises:
        NotAMessage: it was never decorated.
    """
    found = _registered.get(cls)
    if found is None:
        raise NotAMessage(cls, f"is not a message: put @message above `class {cls.__name__}`")
    return found


NoticeT = TypeVar("NoticeT", bound=type)
_notices: Final[dict[type, None]] = {}


def notice(cls: NoticeT) -> NoticeT:
    """Mark a class of what the runtime itself tells an actor: it is no user's message.

    It may hold what cannot be sent to another process, such as an exception.
    """
    _notices[cls] = None
    return cls


def is_notice(message: object) -> bool:
    """Whether it is of a class that `notice` has marked."""
    return type(message) in _notices


def message_types(name: str) -> tuple[MessageType, ...]:
    """What is registered under a name: nothing, one class, or several that clash.

    A class statement that was run again (a module that was reloaded, a function that defines a
    class) has replaced its older class.
    """
    found = (_registered[cls] for cls in _by_name.get(name, ()))
    return tuple(each for each in found if each.name == name)


def message_names() -> list[str]:
    """The names under which anything is registered, sorted."""
    return sorted(name for name in _by_name if message_types(name))


def reply_type(cls: type) -> Any:
    """The T of the `Request[T]` that a class is; Any where it says none that can be found.

    That is: no Request, a type variable, or a name that its module does not know.
    """
    registered = _registered.get(cls)
    if registered is not None and registered.reply is not _UNKNOWN:
        return registered.reply
    found: Any = Any
    for base in cls.__mro__:
        for declared in base.__dict__.get("__orig_bases__", ()):
            if typing.get_origin(declared) is Request:
                found = _evaluated(typing.get_args(declared)[0], base.__module__)
                if found is _UNKNOWN:
                    # Its module may come to know the name.
                    return Any
                break
        else:
            continue
        break
    if registered is not None:
        registered.reply = found
    return found


def item_type(cls: type) -> Any:
    """The T of the `Request[AsyncIterator[T]]` that a class is; Any where it says none."""
    kind = reply_type(cls)
    if typing.get_origin(kind) in ITERATORS:
        return typing.get_args(kind)[0]
    return Any


def _evaluated(kind: Any, module: str) -> Any:
    """A type whose quoted names are looked up in a module; _UNKNOWN: that lacks one of them."""
    holder = types.SimpleNamespace(__annotations__={"reply": kind})
    names = vars(sys.modules[module]) if module in sys.modules else {}
    try:
        kind = typing.get_type_hints(holder, names, include_extras=True)["reply"]
    except NameError:
        return _UNKNOWN
    return Any if isinstance(kind, TypeVar) else kind


@overload
@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field, attrs.Factory))
def message(cls: ClassT, /) -> ClassT: ...
@overload
@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field, attrs.Factory))
def message(*, name: str | None = ..., version: int = ...) -> Callable[[ClassT], ClassT]: ...


def message(cls: Any = None, /, *, name: str | None = None, version: int = 1) -> Any:
    """Make a class a message: frozen, slotted, compared by value, matched by position.

    A plain class becomes a frozen, slotted attrs class of its annotated fields. A class that is
    already a dataclass, an attrs class or a msgspec Struct is taken as it is. Within one process
    any object can be sent; what crosses to another process must be a message. `name` (default:
    the class's name) and `version` are how peers will know it: never an import path.

    Raises:
        NotAMessage: it is no class, or is a class that cannot be a message (an actor, an
            exception, a builtin).
        ValueError: `version` is below 1, or `name` is empty.
    """
    if cls is None:
        return lambda decorated: _register(decorated, name, version)
    return _register(cls, name, version)


def _register(cls: Any, name: str | None, version: int) -> Any:
    if not isinstance(cls, type):
        raise NotAMessage(cls, "is no class: @message stands above a `class` statement")
    if version < 1 or name == "":
        raise ValueError(f"a message has a name and a version from 1 up: {name!r}, {version!r}")
    if hasattr(cls, "receive") or issubclass(cls, BaseException) or cls.__module__ == "builtins":
        raise NotAMessage(cls, "cannot be a message: a message is plain data")
    made: type = cls
    if not is_record(cls):
        made = attrs.define(cls, frozen=True, slots=True)
    registered = MessageType(made, name or made.__name__, version)
    _registered[made] = registered
    place = (made.__module__, made.__qualname__)
    namesakes = _by_name.setdefault(registered.name, [])
    namesakes[:] = [each for each in namesakes if (each.__module__, each.__qualname__) != place]
    namesakes.append(made)
    return made


def is_record(cls: type) -> bool:
    """Whether the class itself (not only a base of it) is an attrs class, dataclass or Struct."""
    return (
        "__attrs_attrs__" in cls.__dict__
        or ("__dataclass_fields__" in cls.__dict__ and dataclasses.is_dataclass(cls))
        or issubclass(cls, msgspec.Struct)
    )
