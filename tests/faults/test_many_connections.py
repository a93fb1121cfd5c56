"""A slice of `make soak`'s connections that are opened and left, to a node in another process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from benchmarks import soak_connections
from benchmarks.soak_connections import FEW_FILES, Figures, far_node, files_for, many, no_files
from benchmarks.soak_processes.cluster import quiet
from transports.nodes.connecting import MOST_STRANGERS


async def test_peers_are_answered_while_more_connect_and_say_nothing_than_a_node_keeps() -> None:
    count = MOST_STRANGERS + 150
    with TemporaryDirectory() as folder, quiet():
        async with far_node(Path(folder)) as node:
            figures = await many(node, count)
    assert figures.problems == []
    assert figures.opened == count
    assert list(figures.joined) == [
        "while they are opened",
        "when all are open",
        "when they are closed",
    ]


async def test_peers_are_answered_by_a_node_without_files_and_others_when_it_has_some() -> None:
    with TemporaryDirectory() as folder, quiet():
        async with far_node(Path(folder)) as node:
            figures = await no_files(node, seconds=2.0)
    assert figures.problems == []
    assert figures.opened > FEW_FILES
    assert figures.refusals > 0
    assert list(figures.joined) == ["when they are closed"]


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (lambda figures: figures.unanswered.append("peer-1: no reply"), "x: peer-1: no reply"),
        (lambda figures: figures.waited.pop(), "x: nobody was answered"),
        (lambda figures: setattr(figures, "peak", 90.0), "x: 40 MiB became 90 MiB"),
        (lambda figures: setattr(figures, "files", 700), "x: the node had 700 files open"),
    ],
)
def test_what_is_wrong_is_found(break_it: Callable[[Figures], None], problem: str) -> None:
    figures = Figures("x", before=40.0, peak=41.0, files=300)
    figures.waited.append(0.1)
    assert figures.problems == []
    break_it(figures)
    assert figures.problems == [problem]


def test_the_command_prints_the_account_and_fails_if_anything_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(soak_connections, "MOST_GROWTH", -1.0)
    assert soak_connections.main(["--connections", "20", "--seconds", "1"]) == 1
    said = capsys.readouterr().out
    assert "time to an answer, p99" in said
    assert "wrong: 20 connections: " in said
    assert "again by: python -m benchmarks.soak_connections --connections 20 --seconds 1\n" in said


def test_a_hard_limit_of_open_files_is_respected() -> None:
    with files_for(1 << 40) as count:
        assert 0 < count < 1 << 40
