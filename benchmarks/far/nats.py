"""The other process of the rows over NATS: ``python -m benchmarks.far.nats [--node] URL``.

It answers requests to `ECHO` with their data; each message to `BLAST` has it write that many
messages to `SUBJECT`, as bytes that were made before, on a connection of its own. With ``--node``
it is also the node `far` of the cluster `CLUSTER`, with the actors of the rows. It ends with its
standard input.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import trio

from actors import ActorSystem
from benchmarks.far import Echo, Sink
from transports.nats import Client, Message, Nats
from transports.nats.engine import Server

ECHO = "bench.echo"
BLAST = "bench.blast"
SUBJECT = "bench.in"
PAYLOAD = b"x" * 100
PIECE = 1_000
CLUSTER = "bench"


async def serve_node(url: str) -> None:
    """The node, and the rest."""
    async with ActorSystem("far", transport=Nats(url, cluster=CLUSTER)) as system:
        system.spawn(Sink, name="sink")
        system.spawn(Echo, name="echo")
        await serve(url)


async def serve(url: str) -> None:
    """Until standard input ends."""
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    stream = await trio.open_tcp_stream(place.hostname, place.port)
    await stream.receive_some()
    await stream.send_all(b'CONNECT {"verbose":false}\r\n')
    command = b"PUB bench.in %d\r\n%b\r\n" % (len(PAYLOAD), PAYLOAD)
    piece = command * PIECE
    send, wanted = trio.open_memory_channel[int](100)

    async def blast() -> None:
        async for count in wanted:
            for _ in range(count // PIECE):
                await stream.send_all(piece)
            await stream.send_all(command * (count % PIECE))

    async with Client(url) as client, trio.open_nursery() as nursery:

        def echo(message: Message) -> None:
            client.publish(message.reply, message.data)

        client.listen(ECHO, echo)
        client.listen(BLAST, lambda message: send.send_nowait(int(message.data)))
        await client.flush()
        nursery.start_soon(blast)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await trio.lowlevel.wait_readable(sys.stdin)
        nursery.cancel_scope.cancel()


@contextlib.contextmanager
def both(*, node: bool = False) -> Iterator[str]:
    """The URL of a server, with the other process connected to it."""
    server = Server(name="benchmark", jetstream=node)
    options = ["--node"] if node else []
    try:
        trio.run(server.start)
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.far.nats", *options, server.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                yield server.url
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(10)
    finally:
        server.close()


if __name__ == "__main__":
    *options, url = sys.argv[1:]
    trio.run(serve_node if options == ["--node"] else serve, url)
