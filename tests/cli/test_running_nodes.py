"""`trouper run` of what runs in a node: readiness, signals, exit codes, the history."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.kit import Shell, end, shells


@pytest.fixture
def shell(tmp_path: Path, repository: Path) -> Iterator[Shell]:
    yield from shells(tmp_path, repository)


def left(shell: Shell) -> list[str]:
    folder = Path(shell.environment["XDG_RUNTIME_DIR"]) / "trouper"
    return [each.name for each in folder.iterdir()] if folder.exists() else []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_cancels_the_function_drains_the_actors_and_exits_0(
    shell: Shell, number: int
) -> None:
    process = shell.node("app")
    for _ in range(3):
        told = shell.command("tell", "actor://app/counter", "Put", '{"number": 2}')
        assert told.returncode == 0, told.stderr
    assert end(process, number) == (0, "cancelled\ncounted 6\n", "")
    assert left(shell) == []


def test_a_function_that_takes_the_system_gets_it_with_its_arguments(shell: Shell) -> None:
    done = shell.trouper("run", "app:brief")
    assert done.stdout.startswith("6\n")
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, "ready: actor://app")


def test_what_the_function_raises_is_its_traceback_and_not_in_a_group(shell: Shell) -> None:
    done = shell.trouper("run", "app:broken")
    assert done.returncode == 1
    assert done.stderr.endswith('KeyError: "a bug of the user\'s"\n')
    assert "ExceptionGroup" not in done.stderr
    assert left(shell) == []


def test_the_name_is_the_nodes_and_readiness_can_be_had_as_json(shell: Shell) -> None:
    process = shell.start("run", "--name", "shop", "--json", "app:Counter", "4")
    assert process.stderr is not None
    ready = json.loads(process.stderr.readline())
    assert ready["ready"] == "actor://shop"
    assert ready["control"].endswith("/trouper/shop.sock")
    assert shell.command("ask", "actor://shop/counter", "Get").stdout == "4\n"
    assert end(process)[0] == 0


def test_a_second_node_of_the_same_name_is_one_clear_line_and_exit_6(shell: Shell) -> None:
    first = shell.node("app")
    second = shell.trouper("run", "app")
    assert second.returncode == 6
    assert second.stderr == (
        f"Error: a node 'app' runs here already (process {first.pid}): choose another name\n"
    )
    other = shell.node("--name", "other", "app")
    assert end(other)[0] == end(first)[0] == 0


def test_a_node_that_was_killed_does_not_keep_its_name(shell: Shell) -> None:
    first = shell.node("app")
    first.kill()
    first.wait(20)
    assert sorted(left(shell)) == ["app.sock", "app.sock.lock"]
    gone = shell.command("tree", "--node", "app")
    assert gone.returncode == 3
    assert gone.stderr.count("\n") == 1
    assert end(shell.node("app"))[0] == 0


def test_what_does_not_end_within_the_grace_is_cancelled_and_exit_7(shell: Shell) -> None:
    process = shell.node("--grace", "0.2", "app:slow")
    code, _, err = end(process)
    assert code == 7
    assert "did not stop within 0.2 s of leaving the system: it is cancelled" in err


@pytest.mark.parametrize("target", ["slow", "lingering"])
def test_the_second_ctrl_c_ends_at_once_with_130(shell: Shell, target: str) -> None:
    process = shell.node("--grace", "3600", f"app:{target}")
    process.send_signal(signal.SIGINT)
    # It waits, so it is there for a second one.
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    code, _, err = end(process, signal.SIGINT)
    assert code == 130
    assert "Traceback" not in err


def test_the_second_ctrl_c_ends_a_program_that_keeps_the_thread(shell: Shell) -> None:
    process = shell.node("app:busy")
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    assert end(process, signal.SIGINT)[0] == 130


IMPORTING = """
import time
try:
    print("starting", flush=True)
    time.sleep(3600)
finally:
    print("cleaned up", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("target", ["app:Starting", "app:Blocking", "importing"])
def test_a_signal_before_it_is_ready_ends_it_as_a_second_one(
    shell: Shell, target: str, number: int
) -> None:
    (shell.folder / "importing.py").write_text(IMPORTING)
    process = shell.start("run", target)
    assert process.stdout is not None
    assert process.stdout.readline() == "starting\n"
    cleaned_up = "cleaned up\n" if target == "importing" else ""
    assert end(process, number) == (130, cleaned_up, "")


ERRORS = [
    (["--unknown", "app"], 2, "No such option"),
    (["--grace", "-1", "app"], 2, "Invalid value for '--grace'"),
    (
        ["--listen", "127.0.0.1:0", "--join", "/run/x", "app"],
        2,
        "--listen and --join are all paths",
    ),
    (["--tls-cert", "x", "app"], 2, "--tls-cert, --tls-key and --tls-ca are given together"),
    (["--secret-file", "none", "app"], 2, "--secret-file none: No such file or directory"),
    (["--secret-file", "open", "app"], 2, "--secret-file open: others may read it: chmod 600 open"),
    (["--secret-file", "empty", "app"], 2, "--secret-file empty: it is empty"),
    (["--secret-file", "good", "app"], 2, "need --listen, --join or --nats"),
    (["--listen", "x.sock", "app"], 2, "or the path of a unix socket, with a / in it"),
    (["--lost-after", "1", "app"], 2, "--lost-after needs --listen, --join or --nats"),
    (["--lost-after", "0", "app"], 2, "Invalid value for '--lost-after'"),
    (["--name", "a/b", "app"], 2, "a node's name has only letters"),
    (["app:main", "1", "2"], 2, "app:main expects START: too many positional arguments"),
    (
        ["--history", "no/such/folder", "app"],
        6,
        "--history no/such/folder: No such file or directory",
    ),
    (["--listen", "0.0.0.0:0", "app"], 6, "whoever is there could talk to every actor"),
    (
        ["--listen", "127.0.0.1:0", "--name", "x", "plain"],
        2,
        "--name, --listen: plain is an async function that makes its own system",
    ),
]


@pytest.fixture(scope="module")
def refused(
    tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> Iterator[list[subprocess.CompletedProcess[str]]]:
    """What came of each of them, all in one process."""
    for shell in shells(tmp_path_factory.mktemp("shell"), repository):
        (shell.folder / "plain.py").write_text("async def main(*args): print(args)\n")
        for name, content, mode in (
            ("open", "x", 0o644),
            ("empty", "", 0o600),
            ("good", "x", 0o600),
        ):
            (shell.folder / name).write_text(content)
            os.chmod(shell.folder / name, mode)
        yield shell.batch(
            *[["run", *args] for args, _, _ in ERRORS], ["run", "plain", "--name", "x"]
        )


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_what_cannot_be_run_so_is_one_line_behind_the_usage_and_an_exit_code(
    refused: list[subprocess.CompletedProcess[str]], number: int
) -> None:
    done, (_, code, text) = refused[number], ERRORS[number]
    assert done.returncode == code
    assert text in done.stderr
    assert done.stderr.count("Error: ") == 1
    assert "Traceback" not in done.stderr
    # (How a command is used is two lines more.)
    assert done.stderr.count("\n") == 1 or code == 2


def test_options_behind_the_target_are_its_own(
    refused: list[subprocess.CompletedProcess[str]],
) -> None:
    assert refused[-1].stdout == "('--name', 'x')\n"


def test_the_history_has_each_ask_and_send_with_how_it_ended(shell: Shell) -> None:
    done = shell.trouper("run", "--history", "history.jsonl", "app:brief")
    assert done.returncode == 0, done.stderr
    history = (shell.folder / "history.jsonl").read_text()
    lines = [json.loads(line) for line in history.splitlines()]
    story = [(each["type"], each["kind"], each["id"].rpartition("/")[2]) for each in lines]
    assert story == [
        ("invoke", "send", "1"),
        ("ok", "send", "1"),
        ("invoke", "ask", "2"),
        ("ok", "ask", "2"),
        ("invoke", "ask", "3"),
        ("unknown", "ask", "3"),
        ("invoke", "ask", "4"),
        ("fail", "ask", "4"),
    ]
    assert lines[3]["value"] == 6
    assert lines[0]["message"]["fields"] == {"number": 1, "ref": None}
    assert {each["node"] for each in lines} == {"app"}
    assert [each["time"] for each in lines] == sorted(each["time"] for each in lines)


def test_workers_take_the_actors_of_the_module_and_are_seen_by_top(shell: Shell) -> None:
    (shell.folder / "work.py").write_text(
        """
import trio
from actors import Actor

class Square(Actor):
    def receive(self, number):
        return number * number

async def main(system, *, task_status):
    square = await system.start(Square, on=f"{system.name}-worker-1")
    print(await square.ask(7), flush=True)
    task_status.started()
    await trio.sleep_forever()
"""
    )
    process = shell.node("--workers", "1", "work")
    assert process.stdout is not None
    assert process.stdout.readline() == "49\n"
    waited = shell.command("wait", "--peer", "work-worker-1")
    assert waited.stdout == "ready: actor://work\n", waited.stderr
    seen = json.loads(shell.command("top", "--once", "--json").stdout)
    nodes = {each["node"]: each for each in seen["nodes"]}
    assert list(nodes) == ["work", "work-worker-1"]
    kinds = [each["kind"] for each in nodes["work-worker-1"]["tree"]]
    assert "Square" in kinds
    assert end(process)[0] == 0
    assert left(shell) == []
    with pytest.raises(ProcessLookupError):
        os.kill(nodes["work-worker-1"]["process"], 0)
