"""Nodes with certificates, or with a secret, as `trouper run` makes them: who is let in."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.cli.kit import Shell, end, shells

SECRETS = {"secret": "a secret of more than 16 bytes", "other": "another one that is long enough"}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Shell]:
    """A shell in a folder with certificates of two authorities, and with two secrets."""
    for shell in shells(tmp_path_factory.mktemp("tls"), repository):
        for authority in ("good", "strange"):
            made = trustme.CA(key_type=trustme.KeyType.ECDSA)
            made.cert_pem.write_to_path(str(shell.folder / f"{authority}.ca"))
            for name in ("a", "b"):
                issued = made.issue_cert(name, key_type=trustme.KeyType.ECDSA)
                path = str(shell.folder / f"{authority}-{name}")
                issued.cert_chain_pems[0].write_to_path(f"{path}.pem")
                issued.private_key_pem.write_to_path(f"{path}.key")
        for name, secret in SECRETS.items():
            path = shell.folder / name
            path.write_text(secret)
            path.chmod(0o600)
        yield shell


@pytest.fixture(autouse=True)
def _ended(shell: Shell) -> Iterator[None]:
    yield
    shell.kill()


def tls(name: str, authority: str = "good", believes: str = "good") -> list[str]:
    cert = f"{authority}-{name}"
    files = {"cert": f"{cert}.pem", "key": f"{cert}.key", "ca": f"{believes}.ca"}
    return [word for what, path in files.items() for word in (f"--tls-{what}", path)]


def secret(name: str) -> list[str]:
    return ["--secret-file", name]


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


def test_nodes_with_certificates_join_and_are_reached_from_each_other(shell: Shell) -> None:
    a, address = shell.node_at("--name", "a", "--listen", "127.0.0.1:0", *tls("a"), "app:Counter")
    b = shell.node("--name", "b", "--join", address, *tls("b"), "app:Counter", "5")
    assert shell.command("wait", "--node", "a", "--peer", "b", "--timeout", "30").returncode == 0
    assert shell.command("ask", "--node", "a", "actor://b/counter", "Get").stdout == "5\n"
    counter = "actor://a/counter"
    assert shell.command("tell", "--node", "b", counter, "Put", '{"number": 3}').returncode == 0
    assert shell.command("ask", "--node", "b", counter, "Get").stdout == "3\n"
    assert end(b) == (0, "counted 5\n", "")
    assert end(a) == (0, "counted 3\n", "")


VERIFY = "TLS: certificate verify failed: "
UNKNOWN = "TLS: tlsv1 alert unknown ca"
SECRET = "b and a have different secrets"


@pytest.mark.parametrize(
    ("mine", "others", "here", "there"),
    [
        pytest.param(
            tls("a"),
            tls("b", "strange"),
            f"a: somebody at 127.0.0.1 is refused: {VERIFY}",
            f"b: a has refused this node: {UNKNOWN}",
            id="a certificate of another authority",
        ),
        pytest.param(
            tls("a"),
            tls("b", believes="strange"),
            f"a: somebody at 127.0.0.1 has refused this node: {UNKNOWN}",
            f"b: a is refused: {VERIFY}",
            id="another authority is believed",
        ),
        pytest.param(
            tls("a"),
            tls("a"),
            "a: b is refused: b has a certificate for a",
            "b: a has refused this node: b has a certificate for a",
            id="a certificate for another name",
        ),
        pytest.param(
            tls("a"),
            [],
            "a: somebody at 127.0.0.1 is refused: TLS: the other side does not speak it",
            "b: a is refused: it speaks TLS, and this node does not: "
            "give each node a certificate, tls=Tls(...)",
            id="no certificate",
        ),
        pytest.param(
            secret("secret"),
            secret("other"),
            f"a: b is refused: {SECRET}",
            f"b: a has refused this node: {SECRET}",
            id="another secret",
        ),
    ],
)
def test_who_may_not_join_is_refused_in_one_line_on_both_sides_and_no_message_arrives(
    shell: Shell, mine: list[str], others: list[str], here: str, there: str
) -> None:
    a, address = shell.node_at("--name", "a", "--listen", "127.0.0.1:0", *mine, "app:Counter")
    b = shell.node("--name", "b", "--join", address, *others, "app:Counter", "5")
    # It is told while they are refused, and before.
    told = shell.command("tell", "--node", "b", "actor://a/counter", "Put", '{"number": 1}')
    assert line_of(a).startswith(here)
    assert line_of(b).startswith(there)
    lost = shell.command("ask", "--node", "b", "--timeout", "0.2", "actor://a/counter", "Get")
    assert (told.returncode, lost.returncode) in {(0, 5), (4, 4), (0, 4)}
    assert lost.stderr.startswith("Error: ")
    assert lost.stderr.count("\n") == 1
    assert shell.command("wait", "--node", "a", "--peer", "b", "--timeout", "0").returncode == 5
    assert shell.command("ask", "--node", "a", "actor://a/counter", "Get").stdout == "0\n"
    # It has tried again and again, and said so once.
    assert end(b) == (0, "counted 5\n", "")
    assert end(a) == (0, "counted 0\n", "")
