"""The node that `trouper run` makes for its target: from options to an actor system."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path
from typing import Any, Final

import attrs
import click

from actors import ActorError
from actors.address import check_name
from transports.cli.exit_codes import ExitCode, Failed
from transports.errors import CannotListen
from transports.nodes.limits import Limits
from transports.nodes.node import Node
from transports.tcp import Tcp
from transports.tls import Tls
from transports.unix import Unix

OF_NATS: Final = ("--cluster", "--credentials", "--exposed", "--durable", "--replicas", "--ttl")


@attrs.frozen(kw_only=True)
class NodeOptions:
    """What the options of `trouper run` say; None and () where they were not given."""

    name: str | None = None
    listen: str | None = None
    join: tuple[str, ...] = ()
    nats: tuple[str, ...] = ()
    cluster: str | None = None
    credentials: Path | None = None
    exposed: tuple[str, ...] = ()
    durable: tuple[str, ...] = ()
    replicas: int | None = None
    ttl: float | None = None
    workers: int | None = None
    secret_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    lost_after: float | None = None
    history: Path | None = None
    control: Path | None = None
    grace: float | None = None
    as_json: bool = False

    def given(self) -> list[str]:
        """The options that were given."""
        values = attrs.asdict(self)
        names = {"as_json": "--json"}
        return [
            names.get(name, f"--{name.replace('_', '-')}")
            for name, value in values.items()
            if value not in (None, (), False)
        ]


def check_node_name(name: str) -> str:
    """The name of a node.

    Raises:
        click.UsageError: it cannot stand in an address.
    """
    try:
        return check_name(name, "node's name")
    except ActorError as error:
        raise click.UsageError(str(error)) from error


def make_transport(options: NodeOptions) -> Node | None:
    """What connects the node with others; None: nothing does.

    Raises:
        click.UsageError: the options contradict one another, or an address is none.
        Failed: a file cannot be read.
    """
    secret = None if options.secret_file is None else read_secret(options.secret_file)
    if options.nats:
        return _make_nats(options, secret)
    if needless := [name for name in options.given() if name in OF_NATS]:
        raise click.UsageError(f"{', '.join(needless)}: only with --nats")
    tls = _make_tls(options)
    if options.listen is None and not options.join:
        if secret is not None or tls is not None:
            raise click.UsageError("--secret-file and --tls-... need --listen, --join or --nats")
        if options.lost_after is not None:
            raise click.UsageError("--lost-after needs --listen, --join or --nats")
        # One without a place is for workers alone.
        return Unix() if options.workers else None
    addresses = [*([options.listen] if options.listen else []), *options.join]
    on_unix = [is_path(address) for address in addresses]
    if len(dict.fromkeys(on_unix)) > 1:
        raise click.UsageError(
            "--listen and --join are all paths of unix sockets, or all HOST:PORT: "
            + ", ".join(addresses)
        )
    limits = _limits(options)
    try:
        if not on_unix[0]:
            return Tcp(options.listen, peers=options.join, secret=secret, tls=tls, limits=limits)
        if tls is not None:
            raise click.UsageError("--tls-... is for HOST:PORT: a unix socket is this user's alone")
        return Unix(options.listen, peers=options.join, secret=secret, limits=limits)
    except CannotListen as error:
        raise Failed(str(error), ExitCode.TAKEN) from error
    except (ValueError, TypeError) as error:
        hint = "" if on_unix[0] else "; or the path of a unix socket, with a / in it: ./shop.sock"
        raise click.UsageError(f"{error}{hint}") from error


def _make_nats(options: NodeOptions, secret: bytes | None) -> Node:
    if options.listen is not None or options.join:
        raise click.UsageError("--nats takes the place of --listen and --join")
    if options.cluster is None:
        raise click.UsageError("--nats needs --cluster: the name that its nodes have in common")
    # Nobody else needs it, and it takes a while to import.
    from transports.nats import CredentialsFile, Nats
    from transports.nats.errors import NatsError

    found = options.credentials
    given: dict[str, Any] = {"replicas": options.replicas, "ttl": options.ttl}
    try:
        return Nats(
            options.nats,
            cluster=options.cluster,
            credentials=None if found is None else CredentialsFile(found),
            tls=_make_context(options),
            secret=secret,
            exposed=options.exposed,
            durable=options.durable,
            limits=_limits(options),
            **{name: value for name, value in given.items() if value is not None},
        )
    except CannotListen as error:
        raise Failed(str(error), ExitCode.TAKEN) from error
    except (ValueError, TypeError, NatsError) as error:
        raise click.UsageError(str(error)) from error


def _make_context(options: NodeOptions) -> ssl.SSLContext | None:
    """TLS with the engine, whose certificate need not be one for this node's peers."""
    cert, key, ca = options.tls_cert, options.tls_key, options.tls_ca
    if cert is None and key is None and ca is None:
        return None
    if ca is None or (cert is None) is not (key is None):
        raise click.UsageError("with --nats: --tls-ca, or --tls-ca, --tls-cert and --tls-key")
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            context.load_cert_chain(cert, key)
    except OSError as error:
        raise click.UsageError(f"--tls-...: {error}") from error
    return context


def _limits(options: NodeOptions) -> Limits | None:
    return None if options.lost_after is None else Limits(lost_after=options.lost_after)


def is_path(address: str) -> bool:
    """Whether an address, perhaps with a name and @ before it, is the path of a unix socket."""
    return "/" in address


def read_secret(path: Path) -> bytes:
    """The secret in a file, without the end of its line.

    Raises:
        Failed: it cannot be read, is empty, or others than its owner may read it.
    """
    try:
        status = os.stat(path)
        secret = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise Failed(f"--secret-file {path}: {error.strerror}", ExitCode.USAGE) from error
    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
        raise Failed(f"--secret-file {path}: others may read it: chmod 600 {path}", ExitCode.USAGE)
    if not secret:
        raise Failed(f"--secret-file {path}: it is empty", ExitCode.USAGE)
    return secret


def _make_tls(options: NodeOptions) -> Tls | None:
    files = (options.tls_cert, options.tls_key, options.tls_ca)
    if files == (None, None, None):
        return None
    if None in files:
        raise click.UsageError("--tls-cert, --tls-key and --tls-ca are given together")
    try:
        return Tls(cert=options.tls_cert, key=options.tls_key, ca=options.tls_ca)  # type: ignore[arg-type] # all three are given
    except ValueError as error:
        raise click.UsageError(str(error)) from error
