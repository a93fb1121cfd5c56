"""Real servers, one for all tests that leave it as it was."""

from collections.abc import Iterator
from itertools import count

import pytest
import trio

from tests.transports.nats.oracle import Oracle
from transports.nats.engine import Server

_numbers = count(1)


@pytest.fixture(scope="session")
def nats_server() -> Iterator[Server]:
    """A server with JetStream that no test stops."""
    server = Server()
    trio.run(server.start)
    yield server
    server.close()


@pytest.fixture(scope="session")
def oracle(nats_server: Server) -> Iterator[Oracle]:
    """nats-py, connected with that server, in a thread of its own."""
    with Oracle(nats_server.url) as oracle:
        yield oracle


@pytest.fixture
def unique() -> str:
    """A word that no other test has: the tests share one server."""
    return f"t{next(_numbers)}"
