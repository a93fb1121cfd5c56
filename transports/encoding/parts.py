"""What a value is made of, step by step: to say where in it something is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import msgspec

from actors import ActorRef
from actors.messages import is_record


def parts(value: Any) -> Iterator[tuple[str, Any]]:
    """The values inside a record, list, tuple or dict, each with its step: ".name" or "[0]"."""
    cls = type(value)
    if cls in (list, tuple):
        yield from ((f"[{place}]", each) for place, each in enumerate(value))
    elif isinstance(value, dict):
        yield from ((f"[{key!r}]", each) for key, each in value.items())
    elif is_record(cls):
        yield from ((f".{name}", getattr(value, name)) for name in field_names(cls))


def field_names(cls: type) -> list[str]:
    """The fields of a class of records, in order."""
    if issubclass(cls, msgspec.Struct):
        return list(cls.__struct_fields__)
    if attrs.has(cls):
        return [field.name for field in attrs.fields(cls)]
    return [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]


def find_fault(value: Any, is_good: Callable[[Any], bool]) -> tuple[str, Any]:
    """Of a value that is not good: the first of its innermost parts that is not, and its path."""
    path = "$"
    while True:
        for step, inner in parts(value):
            if not is_good(inner):
                path, value = path + step, inner
                break
        else:
            return path, value


def find_change(sent: Any, got: Any, path: str = "$") -> tuple[str, Any, Any] | None:
    """The first part that is another one in `got`, and not equal: path, before, after.

    Refs are not compared: one address may have several.
    """
    if isinstance(sent, ActorRef) and isinstance(got, ActorRef):
        return None
    if type(sent) is type(got):
        before, after = list(parts(sent)), list(parts(got))
        if len(before) != len(after):
            return path, sent, got
        for (step, one), (_, other) in zip(before, after, strict=True):
            found = find_change(one, other, path + step)
            if found is not None:
                return found
        if before or is_record(type(sent)):
            return None
    # A value that is not even equal to itself (nan) says nothing.
    return None if sent == got or sent != sent else (path, sent, got)
