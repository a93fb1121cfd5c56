"""NATS, from 2.11 on: a client for trio, and what is built on it.

`client` is the client; `jetstream` and `kv` are the parts of JetStream that are needed. Without
I/O: `protocol` (bytes and events), `handshake` (the states of a connection), `headers`, `subjects`,
`pool`, `outbox`. `engine` starts a real server.

`node` is a transport made of it: `endpoint` and `streams` connect nodes, `presence` says which
there are, and `gateway` lets programs that are no nodes take part.
"""

from transports.nats.client import Client
from transports.nats.credentials import CredentialsFile, NKey, Token, UserPassword
from transports.nats.engine import Server
from transports.nats.errors import ServerNotFound
from transports.nats.events import Connected, Disconnected, Failed, LameDuck, Settings
from transports.nats.jetstream import JetStream
from transports.nats.jetstream_types import ConsumerConfig, StreamConfig
from transports.nats.kv import KeyValue
from transports.nats.kv_types import Entry, Operation
from transports.nats.node import Nats
from transports.nats.protocol import Message
from transports.nats.subscription import Listening, Subscription
from transports.nats.watch import INITIAL_DONE, Watch

__all__ = [
    "INITIAL_DONE",
    "Client",
    "Connected",
    "ConsumerConfig",
    "CredentialsFile",
    "Disconnected",
    "Entry",
    "Failed",
    "JetStream",
    "KeyValue",
    "LameDuck",
    "Listening",
    "Message",
    "NKey",
    "Nats",
    "Operation",
    "Server",
    "ServerNotFound",
    "Settings",
    "StreamConfig",
    "Subscription",
    "Token",
    "UserPassword",
    "Watch",
]
