"""docs/patterns.md: each pattern has code that runs, when to use it, and what can go wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "patterns.md"
SECTIONS = dict(
    re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
)


def test_every_way_to_communicate_has_a_pattern() -> None:
    wanted = {
        "Publish and subscribe": "topic://",
        "Point to point": "actor://",
        "A work queue": "queue://",
        "Request and reply": ".ask(",
        "A service": "service://",
        "Scatter and gather": ".gather(",
        "Streaming reply": ".stream(",
        "Full duplex": ".stream(",
        "A pipeline": ".stream(",
        "Across nodes": "transport=",
    }
    assert [name for name, word in wanted.items() if word not in SECTIONS.get(name, "")] == []


@pytest.mark.parametrize("name", SECTIONS)
def test_each_pattern_has_code_when_to_use_it_and_what_can_go_wrong(name: str) -> None:
    code, when, wrong = (
        SECTIONS[name].find(part) for part in ("```python\n", "**When.**", "**What can go wrong.**")
    )
    assert -1 < code < when < wrong
    anchor = name.lower().replace(" ", "-")
    assert f"- [{name}](#{anchor})" in PAGE.read_text("utf-8")
