"""What worker processes are made of, without a process: lines, records, settings, folders."""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, NotAnActor
from supervision.processes import reports
from supervision.processes.process import how_it_ended
from tests.faults.crew import Hand
from transports import CannotListen, Limits
from transports.worker import host
from transports.worker.settings import Settings, import_actors, import_path


@given(
    st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b" ")), max_size=8),
    st.binary(max_size=5).map(lambda line: line.replace(b"\n", b" ")),
    st.lists(st.integers(0, 100), max_size=5),
)
def test_lines_are_the_same_wherever_the_bytes_are_split(
    lines: list[bytes], rest: bytes, cuts: list[int]
) -> None:
    data = b"".join(line + b"\n" for line in lines) + rest
    decoder = reports.Lines()
    found: list[bytes] = []
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in itertools.pairwise(places):
        found += decoder.feed(data[begin:end])
    assert found + decoder.end() == lines + ([rest] if rest else [])


def test_a_line_that_does_not_end_is_given_on_in_pieces_and_not_kept() -> None:
    decoder = reports.Lines(most=4)
    assert decoder.feed(b"abcdefghij") == [b"abcd", b"efgh"]
    assert decoder.feed(b"k\nl") == [b"ijk"]
    assert decoder.end() == [b"l"]
    assert decoder.end() == []


def record_of(text: str, *args: object, exc_info: object = None) -> logging.LogRecord:
    return logging.LogRecord("some.logger", logging.ERROR, "file", 1, text, args, exc_info)  # type: ignore[arg-type]


def test_a_record_comes_back_with_its_traceback() -> None:
    try:
        raise ValueError("on purpose")
    except ValueError as error:
        record = record_of("two: %d", 2, exc_info=(ValueError, error, error.__traceback__))
    said = reports.decode(reports.encode_record(record, logging.Formatter("%(message)s")))
    assert isinstance(said, reports.Logged)
    assert (said.logger, said.level, said.created) == ("some.logger", 40, record.created)
    assert said.text.startswith("two: 2\nTraceback")
    assert said.text.endswith("ValueError: on purpose")


def test_a_record_that_cannot_be_formatted_or_is_too_long_is_still_one_short_line() -> None:
    formatter = logging.Formatter("%(message)s")
    bad = reports.decode(reports.encode_record(record_of("%d", "no number"), formatter))
    assert isinstance(bad, reports.Logged)
    assert "could not be formatted" in bad.text
    long = reports.encode_record(record_of("\0" * 1_000_000), formatter)
    assert len(long) <= reports.MOST
    assert long.count(b"\n") == 1


@pytest.mark.parametrize(
    "line", [b"", b"text", b"[]", b"3", b"{}", b"\xff", b'{"l": 1}', b"[" * 60_000]
)
def test_what_is_no_report_is_none(line: bytes) -> None:
    assert reports.decode(line) is None
    assert reports.decode(reports.READY) is True


def test_the_end_of_a_process_in_words() -> None:
    assert [how_it_ended(code) for code in (None, 0, 3, -9, -15, -250)] == [
        "it runs",
        "exit code 0",
        "exit code 3",
        "killed by SIGKILL",
        "killed by SIGTERM",
        "killed by signal 250",
    ]


def test_levels_are_those_that_loggers_have_of_their_own() -> None:
    logger = logging.getLogger("tests.levels")
    logger.setLevel(logging.DEBUG)
    try:
        assert reports.levels()["tests.levels"] == logging.DEBUG
        assert reports.levels()[""] == logging.getLogger().level
    finally:
        logger.setLevel(logging.NOTSET)
    assert "tests.levels" not in reports.levels()


class Outer:
    class Inner(Actor):
        pass


def test_a_class_is_found_by_its_import_path() -> None:
    assert import_path(Hand) == "tests.faults.crew:Hand"
    assert import_actors([import_path(Hand)]) == [Hand]
    assert import_path(Outer.Inner).endswith(":Outer.Inner")


def test_what_another_process_cannot_import_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(Actor):
        pass

    with pytest.raises(ValueError, match="in a function"):
        import_path(Local)
    monkeypatch.setattr(Outer.Inner, "__module__", "__main__")
    monkeypatch.setattr("sys.modules", {"__main__": type("module", (), {"__spec__": None})})
    with pytest.raises(ValueError, match="move it to a module"):
        import_path(Outer.Inner)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("no_such_module:Hand", ImportError),
        ("tests.faults.crew:Nobody", AttributeError),
        ("tests.faults.crew:until", NotAnActor),
        ("tests.faults.crew:Do", NotAnActor),
    ],
)
def test_an_import_path_of_no_actor_is_an_error(path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        import_actors([path])


def test_settings_come_back_from_their_line_and_do_not_show_their_secret() -> None:
    limits = Limits(heartbeat=0.5)
    settings = Settings(
        node="s-worker-1",
        parent="s",
        folder="/f",
        sockets={"s": "0", "s-worker-1": "1"},
        secret="5ec7e7",
        actors=["a:B"],
        modules=[],
        path=["/x y"],
        levels={"": 30},
        limits={"heartbeat": 0.5},
        grace=5.0,
    )
    line = settings.encode()
    assert line.count(b"\n") == 1
    assert Settings.decode(line) == settings
    assert settings.node_limits == limits
    assert "5ec7e7" not in repr(settings)


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path_factory.mktemp("w")
    monkeypatch.setattr("tempfile.tempdir", str(found))
    return found


def test_a_folder_that_a_killed_process_has_left_is_removed_and_no_other(place: Path) -> None:
    folder, lock = host.make_folder()
    stale, its_lock = host.make_folder()
    os.close(its_lock)
    (Path(stale) / "1").write_text("a socket")
    (place / "trouper-not-ours").mkdir()
    (place / "trouper-file").write_text("")
    (place / "trouper-link").symlink_to(stale)
    (place / "other").mkdir()
    try:
        host.clear_stale()
        left = {each.name for each in place.iterdir()}
        names = {"trouper-not-ours", "trouper-file", "trouper-link", "other"}
        assert left == {Path(folder).name, *names}
    finally:
        os.close(lock)
    host.clear_stale()
    assert not Path(folder).exists()


def test_a_folder_is_removed_whose_maker_was_killed_before_it_had_locked_it(place: Path) -> None:
    for name in ("trouper-abcd_123", "trouper-12345678", "trouper-full1234"):
        (place / name).mkdir()
    (place / "trouper-full1234" / "something").write_text("")
    host.clear_stale()
    left = {each.name for each in place.iterdir()}
    # That of the control sockets of a user with this number stays.
    assert left == {"trouper-12345678", "trouper-full1234"}


@pytest.mark.parametrize("step", ["open", "flock"])
def test_who_clears_while_a_folder_is_made_does_not_take_it_away(
    place: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    module = os if step == "open" else fcntl
    original = getattr(module, step)
    between = [host.clear_stale]

    def slow(*args: Any) -> Any:
        while between:
            between.pop()()
        return original(*args)

    monkeypatch.setattr(module, step, slow)
    folder, lock = host.make_folder()
    host.clear_stale()
    assert [each.name for each in place.iterdir()] == [Path(folder).name]
    assert [each.name for each in Path(folder).iterdir()] == [host.LOCK]
    os.close(lock)


def test_the_lock_of_a_folder_is_held(place: Path) -> None:
    folder, lock = host.make_folder()
    try:
        with open(Path(folder) / host.LOCK) as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(lock)
        host.remove_folder(folder)
    host.remove_folder(folder)
    assert list(place.iterdir()) == []


def test_a_path_that_is_too_long_for_sockets_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/" + "x" * 100)
    assert host.parent_folder() == "/tmp"
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(CannotListen, match="TMPDIR"):
        host.parent_folder()
