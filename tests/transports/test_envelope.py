"""Envelopes: the table of docs/wire.md is what the code writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from transports.encoding import envelope
from transports.errors import DecodeError

KINDS = get_args(envelope._Any)
SAMPLES = {int: 1, str: "a", bytes: b"b", bool: True}


def fields(kind: type[envelope.Envelope]) -> str:
    """As a row of the table has them."""
    written = []
    for field in msgspec.structs.fields(kind):
        if field.required:
            written.append(field.name)
        else:
            # As JSON has it; a tuple is an array.
            written.append(f"{field.name}={json.dumps(field.default)}")
    return ", ".join(written)


def sample(kind: type[envelope.Envelope]) -> envelope.Envelope:
    return kind(
        *(
            SAMPLES.get(field.type, ("a",) if "tuple" in str(field.type) else 0.5)
            for field in msgspec.structs.fields(kind)
        )
    )


def test_the_table_in_the_docs_has_each_kind_with_its_fields_in_order(repository: Path) -> None:
    section = (repository / "docs" / "wire.md").read_text("utf-8").partition("## Envelopes")[2]
    rows = re.findall(r"^\| (\d+) (\w+) \| ([^|]*) \| (yes)? ?\|", section, re.MULTILINE)
    assert [(int(number), name, text) for number, name, text, _ in rows] == [
        (kind.__struct_config__.tag, kind.__name__, fields(kind)) for kind in KINDS
    ]
    carries = {"Tell", "Asked", "Publish", "Streamed"}
    assert {name for _, name, _, charged in rows if charged} == carries


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_envelope_is_an_array_that_begins_with_its_kind(kind: type[envelope.Envelope]) -> None:
    sent = sample(kind)
    data = envelope.encode(sent)
    plain = msgspec.msgpack.decode(data)
    assert plain[0] == kind.__struct_config__.tag
    assert envelope.decode(data) == sent
    # A newer peer may say more at the end; what is there without a default must be.
    assert envelope.decode(msgspec.msgpack.encode([*plain, "more"])) == sent
    needed = sum(field.required for field in msgspec.structs.fields(kind))
    assert isinstance(envelope.decode(msgspec.msgpack.encode(plain[: 1 + needed])), kind)
    with pytest.raises(DecodeError):
        envelope.decode(msgspec.msgpack.encode(plain[:needed]))
