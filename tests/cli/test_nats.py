"""`trouper engine` starts a server, and `trouper run --nats` nodes that meet over it."""

import base64
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.cli.kit import Shell, end, shells
from transports.cli.exit_codes import ExitCode
from transports.nats import Client
from transports.nats.jetstream import JetStream


@pytest.fixture
def shell(tmp_path: Path, repository: Path) -> Iterator[Shell]:
    yield from shells(tmp_path, repository)


def engine(shell: Shell, *options: str) -> tuple[str, int]:
    """The URL of a server, and the number of its process."""
    process = shell.start("engine", "--port", "0", "--json", *options)
    assert process.stderr is not None
    ready = json.loads(process.stderr.readline())
    return ready["ready"], ready["process"]


def test_nodes_meet_over_an_engine_and_all_of_it_ends_in_good_order(shell: Shell) -> None:
    url, server = engine(shell)
    (shell_engine,) = shell.running
    for name in ("one", "two"):
        node = shell.start("run", "--name", name, "--nats", url, "--cluster", "trial", "app")
        assert node.stderr is not None
        assert node.stderr.readline() == f"ready: actor://{name} in cluster trial\n"
    done = shell.command("wait", "--node", "one", "--peer", "two", "--timeout", "20")
    assert done.returncode == 0, done.stderr
    done = shell.command("ask", "--node", "one", "actor://two/counter", "Get")
    assert (done.returncode, done.stdout.strip()) == (0, "0")
    done = shell.command("publish", "--node", "two", "topic://orders.new", "Put", '{"number": 3}')
    assert done.returncode == 0, done.stderr
    done = shell.command("ask", "--node", "two", "actor://one/counter", "Get")
    assert done.stdout.strip() == "3"
    for process in shell.running[1:]:
        assert end(process)[0] == 0
    assert end(shell_engine, signal.SIGINT)[0] == 0
    assert not Path(f"/proc/{server}").exists()


def test_what_a_node_is_told_of_the_engine_holds(shell: Shell) -> None:
    url, _ = engine(shell)
    node = ("--nats", url, "--cluster", "told", "--ttl", "2", "--durable", "queue://jobs")
    shell.node("--name", "one", *node, "--exposed", "topic://orders.*", "app")
    done = shell.command("tell", "--node", "one", "queue://jobs", "Put", '{"number": 5}')
    assert done.returncode == 0, done.stderr

    async def by_others() -> None:
        async with Client(url) as client:
            reply = await client.request(
                "trouper.told.topic.orders.new", b'{"name": "Put", "fields": {"number": 4}}'
            )
            assert json.loads(reply.data)["reply"]["queued"] == 1
            jetstream = JetStream(client)
            with trio.fail_after(20):
                while (await kept(jetstream)).get("trouper-told-queue-jobs") != 1:
                    await trio.sleep(0.05)
            key = {"last_by_subj": "$KV.trouper-told.node.one"}
            found = await jetstream.api("STREAM.MSG.GET.KV_trouper-told", key)
            assert b"Nats-TTL: 2s\r\n" in base64.b64decode(found["message"]["hdrs"])

    async def kept(jetstream: JetStream) -> dict[str, int]:
        streams = (await jetstream.api("STREAM.LIST"))["streams"]
        return {each["config"]["name"]: each["state"]["messages"] for each in streams}

    trio.run(by_others)
    done = shell.command("ask", "--node", "one", "actor://one/counter", "Get")
    assert done.stdout.strip() == "4"


def test_more_replicas_than_there_are_servers_are_refused_in_one_line(shell: Shell) -> None:
    url, _ = engine(shell)
    done = shell.trouper("run", "--nats", url, "--cluster", "many", "--replicas", "3", "app")
    assert done.returncode == ExitCode.TAKEN
    assert "replicas > 1 not supported in non-clustered mode" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_server_that_is_killed_ends_the_command_with_an_error(shell: Shell) -> None:
    _, server = engine(shell)
    os.kill(server, signal.SIGKILL)
    (process,) = shell.running
    _, err = process.communicate(timeout=20)
    assert process.returncode == ExitCode.FAILED
    assert "the server has ended" in err
    assert "Traceback" not in err


def test_a_port_that_is_taken_is_said(shell: Shell) -> None:
    url, _ = engine(shell)
    done = shell.trouper("engine", "--port", url.rpartition(":")[2])
    assert done.returncode == ExitCode.TAKEN
    port = url.rpartition(":")[2]
    assert done.stderr == (
        f"Error: nats-server ended with 1: Error listening on port: 127.0.0.1:{port}, "
        f'"listen tcp 127.0.0.1:{port}: bind: address already in use"; is one running already? '
        "--port takes another one, and 0 a free one\n"
    )


def test_a_store_that_cannot_be_made_is_said_in_one_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = shell.trouper("engine", "--port", "0", "--store", str(tmp_path / "file" / "store"))
    assert done.returncode == ExitCode.TAKEN
    assert re.fullmatch(
        r"Error: nats-server ended with 1: Can't start JetStream: .*not a directory\n", done.stderr
    )


REFUSED = (
    (["--nats", "nats://127.0.0.1:1"], "--nats needs --cluster"),
    (["--cluster", "c", "--replicas", "3"], "--cluster, --replicas: only with --nats"),
    (["--durable", "queue://jobs"], "--durable: only with --nats"),
    (["--nats", "nats://127.0.0.1", "--cluster", "c", "--replicas", "6"], "1<=x<=5"),
    (["--nats", "nats://127.0.0.1", "--cluster", "c", "--ttl", "0.5"], "0.5 is not in the range"),
    (
        ["--nats", "nats://127.0.0.1", "--cluster", "c", "--durable", "topic://a"],
        "topic://a",
    ),
    (["--nats", "x://y", "--cluster", "c"], "a server is a URL"),
    (["--nats", "nats://127.0.0.1", "--cluster", "a.b"], "a cluster's name"),
    (["--nats", "nats://127.0.0.1", "--cluster", "c", "--listen", "a:1"], "takes the place"),
    (
        ["--nats", "nats://127.0.0.1", "--cluster", "c", "--credentials", "no"],
        "credentials: no",
    ),
    (["--nats", "nats://127.0.0.1", "--cluster", "c", "--tls-cert", "no"], "--tls-ca"),
)


def test_options_without_a_sense_are_refused(shell: Shell) -> None:
    ended = shell.batch(*(("run", *options, "app") for options, _ in REFUSED))
    for (options, text), done in zip(REFUSED, ended, strict=True):
        assert done.returncode == ExitCode.USAGE, options
        assert text in done.stderr
        assert "Traceback" not in done.stderr


def test_no_engine_is_one_clear_line(shell: Shell) -> None:
    done = shell.trouper("run", "--nats", "nats://127.0.0.1:1", "--cluster", "c", "app")
    assert done.returncode == ExitCode.TAKEN
    assert "cannot join cluster c: no server could be reached: 127.0.0.1:1" in done.stderr
    assert len(done.stderr.splitlines()) == 1
