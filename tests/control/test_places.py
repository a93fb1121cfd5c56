"""Where control sockets are, and who may have one."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from transports.control import NodeRuns, NoPlace, Place, claim, find_places, place_of
from transports.control.places import LONGEST_PATH, bind, check_folder, runtime_folder


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # A unix socket's path is short, and those of pytest are long.
    with TemporaryDirectory() as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        yield Path(short)


def test_the_socket_is_the_owners_alone_and_so_is_its_folder(folder: Path) -> None:
    place = place_of("shop")
    with claim(place), bind(place):
        assert stat.S_IMODE(place.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.path.parent.stat().st_mode) == 0o700
        assert place.path == folder / "trouper" / "shop.sock"


def test_nothing_is_left_when_a_place_is_given_back() -> None:
    place = place_of("shop")
    with claim(place), bind(place):
        pass
    assert list(place.path.parent.iterdir()) == []


def test_a_second_node_of_the_same_name_is_told_who_has_it() -> None:
    with (
        claim(place_of("shop")),
        pytest.raises(NodeRuns, match=f"'shop' runs here already .process {os.getpid()}."),
        claim(place_of("shop")),
    ):
        pass
    with claim(place_of("shop")):
        pass


def test_a_node_of_another_name_is_told_that_the_place_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with (
        claim(place_of("shop", path)),
        pytest.raises(NodeRuns, match=f"its control socket at {path} already .*: choose another p"),
        claim(place_of("cart", path)),
    ):
        pass


def test_what_a_killed_node_has_left_is_cleared() -> None:
    place = place_of("shop")
    code = """
import os
from transports.control import claim, place_of
from transports.control.places import bind
with claim(place_of("shop")):
    bind(place_of("shop"))
    os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=50, check=False)
    assert done.returncode == 9
    assert place.path.exists()
    assert find_places() == []
    with claim(place), bind(place):
        assert find_places() == [place]


def test_the_nodes_that_run_here_are_found_by_name() -> None:
    names = ["b", "a.b", "a"]
    places = [place_of(name) for name in names]
    with claim(places[0]), claim(places[1]), claim(places[2]):
        sockets = [bind(place) for place in places]
        try:
            assert [place.name for place in find_places()] == ["a.b", "a", "b"]
        finally:
            for each in sockets:
                each.close()


def test_without_a_runtime_folder_there_is_one_for_the_user(tmp_path: Path) -> None:
    missing = {"XDG_RUNTIME_DIR": str(tmp_path / "none")}
    for environment in ({}, missing, {"XDG_RUNTIME_DIR": ""}):
        assert runtime_folder(environment).name == f"trouper-{os.geteuid()}"


def test_a_folder_that_others_may_enter_is_refused(folder: Path) -> None:
    (folder / "trouper").mkdir(mode=0o755)
    with pytest.raises(NoPlace, match="others may enter .*: chmod 700"), claim(place_of("shop")):
        pass
    with pytest.raises(NoPlace):
        find_places()


def test_a_link_in_the_place_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "elsewhere").mkdir(mode=0o700)
    (folder / "trouper").symlink_to(folder / "elsewhere")
    with pytest.raises(NoPlace, match="is no folder"):
        check_folder(folder / "trouper")


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("precious")
    with (
        pytest.raises(NoPlace, match="is there already, and is no socket|longer than"),
        claim(place_of("shop", path)),
    ):
        pass
    assert path.read_text() == "precious"


def test_a_path_that_no_socket_can_have_is_refused_with_what_to_do(folder: Path) -> None:
    path = folder / ("x" * LONGEST_PATH)
    with pytest.raises(NoPlace, match="--control or XDG_RUNTIME_DIR"), claim(Place("shop", path)):
        pass


def test_a_socket_with_nobody_behind_it_is_no_node(folder: Path) -> None:
    path = folder / "dead.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
    assert not Place("dead", path).answers()
