"""The commands that talk to a running node: as processes where that may make a difference."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cli.kit import START, Shell, end, shells
from transports.cli import main


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Shell]:
    """One node, `app`, for all tests here."""
    for each in shells(tmp_path_factory.mktemp("shell"), repository):
        each.node("app")
        yield each


@pytest.fixture
def alone(tmp_path: Path, repository: Path) -> Iterator[Shell]:
    """A shell without a node."""
    yield from shells(tmp_path, repository)


def test_the_tree_shows_actors_below_their_node(shell: Shell) -> None:
    done = shell.command("tree")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("actor://app  process ")
    assert "counter  Counter, running" in done.stdout
    assert "silent  Silent, running" in done.stdout


def test_the_tree_is_json_for_scripts(shell: Shell) -> None:
    done = shell.command("tree", "--json", "--node", "app", "--peers")
    (node,) = json.loads(done.stdout)["nodes"]
    assert (node["node"], node["ready"], node["missing"]) == ("app", True, 0)
    assert "actor://app/silent" in [each["address"] for each in node["tree"]]


def test_top_prints_once_with_rates_and_ages(shell: Shell) -> None:
    done = shell.command("top", "--once", "--sort", "address")
    assert done.returncode == 0
    header, *rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert header == ["actor", "class", "state", "waiting", "of", "/s", "restarts", "oldest"]
    assert [row[0] for row in rows][:1] == ["actor://app/counter"]
    (node,) = json.loads(shell.command("top", "--once", "--json").stdout)["nodes"]
    assert all(each["rate"] is not None for each in node["tree"])


@pytest.mark.parametrize(
    "arguments", [("tree",), ("ask", "--timeout", "0.1", "actor://app/counter", "Get")]
)
def test_a_node_that_answers_nothing_is_not_waited_for_without_end(
    alone: Shell, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr("transports.control.client.ANSWER_WITHIN", 0.1)
    monkeypatch.setattr("transports.control.client.ASK_WITHIN", 0.1)
    process = alone.node("app")
    process.send_signal(signal.SIGSTOP)
    try:
        done = alone.command(*arguments)
    finally:
        process.send_signal(signal.SIGCONT)
    assert done.returncode == 5
    assert done.stderr.startswith("Error: the node 'app' ")
    assert "its process is stopped, or a handler keeps the thread" in done.stderr
    assert end(process)[0] == 0


def test_top_without_a_terminal_says_what_to_do(shell: Shell) -> None:
    done = shell.command("top")
    assert done.returncode == 2
    assert "this is no terminal to draw on: use --once, or --json" in done.stderr


def test_a_message_is_told_and_asked_for(shell: Shell) -> None:
    counter = "actor://app/counter"
    before = int(shell.trouper("ask", counter, "Get").stdout)
    assert shell.trouper("tell", counter, "Put", '{"number": 3}').stdout == ""
    told = shell.command("tell", "--json", counter, "Put", "-", input='{\n"number":\n4}')
    assert json.loads(told.stdout) == {"told": counter}
    asked = shell.command("ask", "--json", counter, "Get")
    assert json.loads(asked.stdout) == {"reply": before + 7}


def test_a_message_is_published_and_who_got_it_is_said(shell: Shell) -> None:
    done = shell.command("publish", "orders.placed", "Put", '{"number": 0}')
    assert done.stdout == "1 of 1 subscribers here have it\n"
    done = shell.command("publish", "--json", "topic://nobody", "Put", '{"number": 0}')
    assert json.loads(done.stdout) == {"matched": 0, "queued": 0, "refused": 0, "nodes": 0}


def test_listening_streams_lines_until_ctrl_c(shell: Shell) -> None:
    listener = shell.start("listen", "orders.**")
    assert listener.stdout is not None
    heard: list[str] = []
    # Until it has subscribed, nobody hears.
    while json.loads(
        shell.command("publish", "--json", "orders.a.b", "Put", '{"number": 0}').stdout
    ) != {"matched": 1, "queued": 1, "refused": 0, "nodes": 0}:
        assert listener.poll() is None
    heard.append(listener.stdout.readline())
    assert json.loads(heard[0]) == {
        "name": "Put",
        "version": 1,
        "fields": {"number": 0, "ref": None},
    }
    assert end(listener, signal.SIGINT)[::2] == (0, "")


def test_dead_letters_are_shown_and_followed_until_ctrl_c(shell: Shell) -> None:
    nobody = "actor://app/nobody"
    assert shell.command("tell", nobody, "Put", '{"number": 1}').returncode == 4
    shown = shell.command("dead-letters", "--last", "1")
    assert shown.stdout == f'{nobody}: no actor at that address: Put {{"number":1,"ref":null}}\n'
    follower = shell.start("dead-letters", "--json", "--last", "1", "--follow")
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline())["message"]["fields"]["number"] == 1
    # It follows once its own actor is there; the second letter may still be among the recent.
    while "follower" not in shell.command("tree").stdout:
        assert follower.poll() is None
    shell.command("tell", nobody, "Put", '{"number": 2}')
    assert json.loads(follower.stdout.readline())["message"]["fields"]["number"] == 2
    assert end(follower, signal.SIGINT)[::2] == (0, "")


def test_waiting_ends_when_the_node_is_ready(alone: Shell) -> None:
    waiting = alone.start("wait", "--timeout", "50")
    asking = alone.start("ask", "--wait", "50", "actor://app/counter", "Get")
    alone.node("app")
    assert waiting.communicate(timeout=20)[0] == "ready: actor://app\n"
    assert asking.communicate(timeout=20)[0] == "0\n"
    assert (waiting.returncode, asking.returncode) == (0, 0)


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["tell", "actor://app/counter", "Put", '{"number": "x"}'], 4, "(at $.number)"),
        (["tell", "actor://app/counter", "Putt"], 4, "no message is called 'Putt' here; there is"),
        (["tell", "nonsense", "Put", '{"number":1}'], 4, "an address starts with actor://"),
        (["ask", "actor://app/counter", "Put", '{"number": -1}'], 4, "ValueError('negative')"),
        (["ask", "--timeout", "0.1", "actor://app/silent", "Get"], 5, "no reply from"),
        (["publish", "a..b", "Get"], 4, "words joined by single dots"),
        (["listen", "a..b"], 4, "words joined by single dots"),
        (["tree", "--node", "other"], 3, "no node 'other' runs here"),
        (["tree", "--control", "/no/such.sock"], 3, "No such file or directory"),
        (["wait", "--node", "other", "--timeout", "0.2"], 5, "other was not ready within 0.2 s"),
        (["wait", "--peer", "b", "--timeout", "0.2"], 5, "not ready and connected with b within"),
        (["tree", "--wait", "0.1", "--node", "other"], 5, "other was not ready within 0.1 s"),
    ],
)
def test_an_error_is_one_clear_line_and_an_exit_code(
    shell: Shell, args: list[str], code: int, text: str
) -> None:
    done = shell.command(*args)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("Error: ")
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("args", [["tree"], ["tree", "--json"], ["top", "--once"]])
def test_what_cannot_be_printed_is_one_clear_line(shell: Shell, args: list[str]) -> None:
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-P", "-c", START, *args],
            cwd=shell.folder,
            env=shell.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
            check=False,
        )
    why = "Error: what it prints cannot be written: No space left on device\n"
    assert (process.returncode, process.stderr) == (1, why)


def test_fields_that_are_no_json_are_a_usage_error(shell: Shell) -> None:
    done = shell.command("tell", "actor://app/counter", "Put", "{")
    assert done.returncode == 2
    assert "the fields of a message are JSON" in done.stderr


def test_without_a_node_it_is_said_how_to_start_one(alone: Shell) -> None:
    for command in ("tree", "dead-letters"):
        done = alone.command(command)
        assert done.returncode == 3
        assert done.stderr.startswith("Error: no node runs here (`trouper run` starts one")


def test_of_several_nodes_one_has_to_be_named(alone: Shell) -> None:
    alone.node("--name", "one", "app")
    alone.node("--name", "two", "app")
    done = alone.command("tree")
    assert done.returncode == 3
    assert done.stderr == "Error: several nodes run here: one, two; choose one by --node\n"
    assert alone.command("tree", "--node", "two").stdout.startswith("actor://two")
    control = f"{alone.environment['XDG_RUNTIME_DIR']}/trouper/one.sock"
    assert alone.command("tree", "--control", control).stdout.startswith("actor://one")


def test_the_shell_completes_commands_and_the_names_of_nodes(shell: Shell) -> None:
    for words, expected in (("trouper dea", "dead-letters"), ("trouper tree --node a", "app")):
        environment = {
            **shell.environment,
            "_TROUPER_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        done = Shell(shell.folder, environment, []).command()
        assert expected in done.stdout


@pytest.mark.parametrize(
    "command", ["ask", "dead-letters", "listen", "publish", "run", "tell", "top", "tree", "wait"]
)
def test_each_command_has_help_and_json(command: str) -> None:
    done = CliRunner().invoke(main, [command, "--help"])
    assert done.exit_code == 0
    assert "--json" in done.output


def test_a_node_that_goes_away_ends_whoever_listens_to_it(alone: Shell) -> None:
    node = alone.node("app")
    listener = alone.start("listen", "orders.*")
    while "follower" not in alone.command("tree").stdout:
        assert listener.poll() is None
    node.kill()
    out, err = listener.communicate(timeout=20)
    assert (listener.returncode, out, err) == (3, "", "Error: the node 'app' went away\n")


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_two_nodes_join_and_each_is_seen_and_reached_from_the_other(
    alone: Shell, kind: str
) -> None:
    (alone.folder / "secret").write_text("a secret of more than 16 bytes\n")
    (alone.folder / "secret").chmod(0o600)
    listen = f"{alone.environment['XDG_RUNTIME_DIR']}/a.node" if kind == "unix" else "127.0.0.1:0"
    secret = ("--secret-file", "secret")
    a = alone.start("run", "--name", "a", "--listen", listen, *secret, "app")
    assert a.stderr is not None
    ready = a.stderr.readline().strip()
    assert ready.startswith("ready: actor://a at a@")
    b = alone.node("--name", "b", "--join", ready.rpartition(" ")[2], *secret, "app", "5")
    both = alone.command("wait", "--node", "a", "--peer", "b")
    assert both.stdout == ready + "\n", both.stderr
    asked = alone.command("ask", "--node", "a", "actor://b/counter", "Get")
    assert asked.stdout == "5\n", asked.stderr
    seen = json.loads(alone.command("top", "--once", "--json", "--node", "b").stdout)
    assert [each["node"] for each in seen["nodes"]] == ["b", "a"]
    assert seen["unreachable"] == []
    published = alone.command("publish", "--node", "b", "orders.x", "Put", '{"number": 0}')
    assert published.stdout == "1 of 1 subscribers here have it; sent to 1 other node\n"
    assert end(b)[0] == end(a)[0] == 0


def test_an_address_that_is_taken_is_exit_6(alone: Shell) -> None:
    a = alone.start("run", "--name", "a", "--listen", "127.0.0.1:0", "app")
    assert a.stderr is not None
    place = a.stderr.readline().strip().rpartition("@")[2]
    done = alone.trouper("run", "--name", "b", "--listen", place, "app")
    assert (done.returncode, done.stderr) == (
        6,
        f"Error: cannot listen at {place}: Address already in use\n",
    )
