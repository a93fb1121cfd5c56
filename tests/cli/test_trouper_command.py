"""The `trouper` command, run as a user runs it: from a folder with the user's own modules."""

import importlib.metadata
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cli.kit import START, shells

APP = """
import click
from actors import Actor

async def main(*args):
    print("main", args)

async def greet(name, greeting="hello"):
    print(greeting, name)

@click.command()
@click.argument("words", nargs=-1)
@click.option("--loud", is_flag=True)
def command(words, loud):
    print("command", words, loud)
    raise SystemExit(3)

class Countdown(Actor):
    def __init__(self, start):
        self.left = int(start)
    async def started(self):
        print("at", self.context.ref.address)
        self.context.ref.tell("tick")
    def receive(self, message):
        print(self.left)
        self.left -= 1
        if self.left < 0:
            self.context.stop()
        else:
            self.context.ref.tell("tick")
    async def stopped(self):
        print("done")

class Server(Actor):
    async def started(self):
        self.context.ref.tell("say it when started() has returned")
    def receive(self, message):
        print("serving", flush=True)
    async def stopped(self):
        print("stopped in good order", flush=True)

class Stubborn(Server):
    shutdown = 3600.0
    async def stopped(self):
        import trio
        print("stopping", flush=True)
        await trio.sleep(3600)

class Slow(Actor):
    async def started(self):
        import trio
        print("serving", flush=True)
        await trio.sleep(3600)
    def receive(self, message):
        pass

class Broken(Actor):
    async def started(self):
        raise RuntimeError("cannot start")
    def receive(self, message):
        pass

class Plain:
    pass

number = 42
def sync():
    pass
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


CANNOT_BE_RUN = {
    "nothing": "no module named 'nothing' here or among the installed packages",
    "nothing.at.all": "no module named 'nothing' here or among the installed packages",
    "app.inside": "no module named 'app.inside' here or among the installed packages",
    "app:absent": "module 'app' has no 'absent'; it has main, greet, command, "
    "Countdown, Server, Stubborn, Slow, Broken",
    "app:number": "app:number is a value of type int; it can be one of: ",
    "app:sync": "app:sync is a function that is not async; it can be one of: ",
    "app:Plain": "app:Plain is a class that is no Actor; it can be one of: ",
    "app:Actor": "app:Actor is the base class Actor; it can be one of: ",
    "app.py": "'app.py' is a file; name the module: app",
    "./app.py": "'./app.py' is not the name of a module; write it with dots",
    ".app": "'.app' is not the name of a module",
    ":main": "'' is not the name of a module",
}

ENDED = [
    ["--version"],
    ["--help"],
    ["run", "--help"],
    ["run", "app:greet"],
    ["run", "app:greet", "a", "b", "c"],
    ["run", "app:greet", "you"],
    ["run", "app:Countdown"],
    ["run", "app:command", "--help"],
    ["simluate", "examples.bank"],
    ["dance"],
    *[["run", target] for target in CANNOT_BE_RUN],
]
"""What neither needs a process of its own, nor starts a node."""


@pytest.fixture(scope="module")
def in_one_process(
    tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> Iterator[list[subprocess.CompletedProcess[str]]]:
    for shell in shells(tmp_path_factory.mktemp("shell"), repository):
        (shell.folder / "app.py").write_text(APP)
        yield shell.batch(*ENDED)


@pytest.fixture
def ended(in_one_process: list[subprocess.CompletedProcess[str]]) -> Run:
    """What came of `trouper ARGS...`, of those in ENDED."""
    return lambda *args: in_one_process[ENDED.index([*args])]


@pytest.fixture
def environment(repository: Path) -> Iterator[dict[str, str]]:
    # The path of a unix socket is short, and those of pytest are long.
    with TemporaryDirectory() as runtime:
        yield {
            **os.environ,
            "PYTHONPATH": str(repository),
            "PYTHONUNBUFFERED": "1",
            "XDG_RUNTIME_DIR": runtime,
        }


@pytest.fixture
def trouper(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Run `trouper ARGS...` in a folder of the test's own."""

    def run(*args: str, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-c", START, *args],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=50,
        )

    return run


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A module of the user's."""
    path = tmp_path / "app.py"
    path.write_text(APP)
    return path


@pytest.fixture
def started(
    app: Path, environment: dict[str, str]
) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start `trouper run TARGET` and wait for its first line."""
    running: list[subprocess.Popen[str]] = []

    def start(target: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", START, "run", target],
            cwd=app.parent,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_the_version_is_that_of_the_distribution(ended: Run) -> None:
    done = ended("--version")
    assert done.stdout == f"trouper {importlib.metadata.version('trouper')}\n"


def test_help_names_the_command_and_says_what_can_be_run(ended: Run) -> None:
    assert "run" in ended("--help").stdout
    text = " ".join(ended("run", "--help").stdout.split())
    assert "MODULE[:name] [ARGS]..." in text
    for kind in ("click command", "async function", "Actor class"):
        assert kind in text


def test_main_is_the_default_name_and_arguments_are_strings(trouper: Run, app: Path) -> None:
    done = trouper("run", "app", "1", "--flag", "two words")
    assert done.stdout == "main ('1', '--flag', 'two words')\n"
    assert done.returncode == 0


def test_an_async_function_is_run_by_name(ended: Run) -> None:
    assert ended("run", "app:greet", "you").stdout == "hello you\n"


@pytest.mark.parametrize("args", [[], ["a", "b", "c"]])
def test_an_async_function_with_the_wrong_number_of_arguments_is_a_usage_error(
    ended: Run, args: list[str]
) -> None:
    done = ended("run", "app:greet", *args)
    assert done.returncode == 2
    assert "app:greet expects NAME GREETING: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_click_command_gets_the_arguments_options_and_exit_code(trouper: Run, app: Path) -> None:
    done = trouper("run", "app:command", "x", "--loud")
    assert done.stdout == "command ('x',) True\n"
    assert done.returncode == 3


def test_help_after_the_target_is_the_targets_help(ended: Run) -> None:
    done = ended("run", "app:command", "--help")
    assert done.stdout.startswith("Usage: trouper run app:command [OPTIONS] [WORDS]...")


def test_an_actor_runs_until_it_stops(trouper: Run, app: Path) -> None:
    done = trouper("run", "app:Countdown", "2")
    assert done.stdout == "at actor://app/countdown\n2\n1\n0\ndone\n"
    assert done.returncode == 0, done.stderr


def test_an_actor_with_the_wrong_number_of_arguments_is_a_usage_error(ended: Run) -> None:
    done = ended("run", "app:Countdown")
    assert done.returncode == 2
    assert "app:Countdown expects START: " in done.stderr


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_an_actor_in_good_order(
    started: Callable[[str], subprocess.Popen[str]], signal_number: signal.Signals
) -> None:
    process = started("app:Server")
    process.send_signal(signal_number)
    out, err = process.communicate(timeout=20)
    assert out == "stopped in good order\n"
    assert (process.returncode, err) == (0, "ready: actor://app\n")


def test_a_second_signal_does_not_wait_for_a_slow_actor(
    started: Callable[[str], subprocess.Popen[str]],
) -> None:
    process = started("app:Stubborn")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_signal_while_an_actor_is_still_starting_ends_it(
    started: Callable[[str], subprocess.Popen[str]],
) -> None:
    process = started("app:Slow")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")


def test_an_actor_that_cannot_start_shows_its_traceback(trouper: Run, app: Path) -> None:
    done = trouper("run", "app:Broken")
    assert done.returncode == 1
    assert "RuntimeError: cannot start" in done.stderr
    assert "app.py" in done.stderr


@pytest.mark.parametrize("target", CANNOT_BE_RUN)
def test_what_cannot_be_run_is_one_clear_line(ended: Run, target: str) -> None:
    done = ended("run", target)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {CANNOT_BE_RUN[target]}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_an_import_that_fails_inside_the_module_shows_its_traceback(
    trouper: Run, tmp_path: Path
) -> None:
    (tmp_path / "needs.py").write_text("import something_that_is_missing\n")
    done = trouper("run", "needs")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "No module named 'something_that_is_missing'" in done.stderr


def test_the_code_index_runs_from_the_checkout(
    trouper: Run, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "one.py").write_text("def only(): pass\n")
    done = trouper("run", "examples.code_index", str(tmp_path), cwd=repository)
    assert done.returncode == 0, done.stderr
    assert "1  files" in done.stdout


def test_a_missing_folder_for_the_code_index_is_one_clear_line(
    trouper: Run, repository: Path
) -> None:
    done = trouper("run", "examples.code_index", "/no/such/folder", cwd=repository)
    assert done.returncode == 2
    assert done.stderr == "Error: cannot index '/no/such/folder': No such file or directory\n"


def test_a_command_that_is_mistyped_is_suggested(ended: Run) -> None:
    done = ended("simluate", "examples.bank")
    assert done.returncode == 2
    assert done.stderr.endswith("No such command 'simluate'. Did you mean 'simulate'?\n")
    assert "Did you mean" not in ended("dance").stderr
