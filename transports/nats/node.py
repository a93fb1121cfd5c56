"""Nodes on NATS: ActorSystem("shop", transport=Nats("nats://...", cluster="shop"))."""

from __future__ import annotations

import contextlib
import logging
import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from actors import ActorError
from actors.timers import check_seconds
from transports.cluster.session import Lease
from transports.endpoint import Peer
from transports.errors import CannotJoin
from transports.nats.client import Client
from transports.nats.credentials import Credentials
from transports.nats.durable import ANOTHER_CONFIG, Store, check_durable
from transports.nats.endpoint import NatsEndpoint
from transports.nats.errors import (
    ApiError,
    AuthorizationViolation,
    CannotConnect,
    NatsError,
    NoResponders,
    NotConnected,
    OutcomeUnknown,
    PermissionsViolation,
    RequestTimeout,
)
from transports.nats.events import Connected, Disconnected, Event, Failed, LameDuck, Settings
from transports.nats.gateway import Gateway, check_exposed
from transports.nats.kv import KeyValue
from transports.nats.pool import parse_url
from transports.nats.presence import Presence, Record
from transports.nats.store import NatsStore
from transports.nodes.connecting import Connections
from transports.nodes.limits import Limits
from transports.nodes.node import Node
from transports.nodes.spawnable import Recipe
from transports.tcp import is_loopback

if TYPE_CHECKING:
    from actors import ActorRef, ActorSystem
    from actors.address import Address

log = logging.getLogger("transports")

SETTINGS: Final = Settings(offline=False, ping_every=2.0)
"""Nothing waits in the client for a connection: sessions know what has to be sent again."""
MARKERS: Final = 60.0
"""Seconds for which the store remembers that a key has ended."""
UNSAFE: Final = (
    "whoever reaches that server could talk to every actor: give credentials=..., tls=..., or all "
    "nodes a secret=... (`trouper run`: --credentials, --tls-..., --secret-file); without, only "
    "servers on loopback are used (127.0.0.1, ::1, localhost)"
)
HINTS: Final[tuple[tuple[type[NatsError], str], ...]] = (
    (
        CannotConnect,
        "; is a nats-server running there? For a first try `trouper engine` starts one",
    ),
    (
        AuthorizationViolation,
        "; the credentials are wrong, have expired, or are missing: credentials=..., or a user and "
        "a password in the server's URL (`trouper run`: --credentials)",
    ),
    (
        PermissionsViolation,
        "; docs/operations.md says which permissions a node needs",
    ),
)
"""What to do when a node cannot enter, besides what went wrong."""
NANOSECONDS_OF_REVISION: Final = 1_000
"""A bucket that is made now begins with this time in microseconds: above all of any before it."""
ENTER_WITHIN: Final = 15.0
"""Seconds for an engine that is there to have a store: electing a leader takes about 6."""
ATTEMPT: Final = 1.0
"""Seconds for an answer of the store meanwhile: what comes before there is a leader gets none."""
MOST_DENIED: Final = 100
"""Permissions that are missing, of which each is said in the log once."""
LEAVE_WITHIN: Final = 1.0
"""Seconds for the store to take this node's key away."""


class Nats(Node):
    """A node of a cluster whose nodes reach each other over NATS, 2.11 or later, with JetStream.

        ActorSystem("shop", transport=Nats("nats://127.0.0.1:4222", cluster="shop"))

    servers: one or more of the engine's; the others are learned from them. cluster: its nodes find
    and call each other, and those of no other cluster; the first node makes the cluster's bucket in
    the engine's store. credentials, tls: for the engine, which sees whatever passes. secret: at
    least 16 bytes, the same on all nodes, which prove it to each other: where others may publish to
    the cluster's subjects. exposed: addresses of topics, queues and services that programs which
    are no nodes may use, see docs/patterns.md; none else. durable: addresses of queues whose
    messages the engine keeps, the same on all nodes. workers_too: the worker processes of this
    node join the cluster over NATS, where other nodes reach them; by default they have sockets of
    this machine for themselves. replicas: of the bucket, if this node makes it: 3 in a cluster of
    servers. ttl: seconds after which a node that has gone without a word is called no more. lease:
    of `Singleton` and `Sharded`; the store is the engine's. limits, incarnation, types, spawnable:
    as Node's.

    Raises:
        CannotJoin: neither credentials nor TLS nor secret, and a server is not on loopback.
        ValueError, TypeError: the cluster's name is none, the secret is too short, a server's URL
            is none, a ttl is below 1, replicas are not 1 to 5, or an argument is of another type.
    """

    def __init__(
        self,
        servers: str | Sequence[str] = "nats://127.0.0.1:4222",
        *,
        cluster: str,
        credentials: Credentials | None = None,
        tls: ssl.SSLContext | None = None,
        secret: bytes | None = None,
        exposed: Iterable[str] = (),
        durable: Iterable[str] = (),
        workers_too: bool = False,
        replicas: int = 1,
        ttl: float = 10.0,
        lease: Lease | None = None,
        incarnation: int | None = None,
        limits: Limits | None = None,
        types: Iterable[type] | None = None,
        spawnable: Iterable[Recipe] | Mapping[str, Recipe] = (),
    ) -> None:
        self._servers = [servers] if isinstance(servers, str) else list(servers)
        if type(replicas) is not int or not 1 <= replicas <= 5:
            raise ValueError(f"replicas is an int from 1 to 5: {replicas!r}")
        if not self._servers:
            raise ValueError("servers: the URL of one at least")
        if check_seconds(ttl, "ttl") < 1:
            raise ValueError(f"ttl is at least 1 s, which is the store's least: {ttl!r}")
        if isinstance(lease, Lease) and lease.ttl < 1:
            raise ValueError(f"lease.ttl is at least 1 s, which is the store's least: {lease!r}")
        if credentials is not None and not callable(getattr(credentials, "fields", None)):
            raise TypeError(
                "credentials is CredentialsFile(PATH), UserPassword(...), Token(...) or NKey(...), "
                f"not a {type(credentials).__name__}"
            )
        if tls is not None and not isinstance(tls, ssl.SSLContext):
            raise TypeError(f"tls is an ssl.SSLContext, not {tls!r}")
        if type(cluster) is not str or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", cluster):
            raise ValueError(
                f"a cluster's name is letters, digits, - and _, 64 at most: {cluster!r}"
            )
        self.cluster = cluster
        self._credentials = credentials
        self._tls = tls
        places = [parse_url(server) for server in self._servers]
        if secret is None and credentials is None and tls is None:
            for place in places:
                if place.credentials is None and not place.tls and is_loopback(place.host) is False:
                    raise CannotJoin(f"cluster {cluster} over {place}", UNSAFE)
        self._nats_endpoint = NatsEndpoint(cluster, secret)
        super().__init__(
            self._nats_endpoint,
            incarnation=incarnation,
            limits=limits,
            types=types,
            spawnable=spawnable,
            lease=lease,
        )
        self._exposed = check_exposed(exposed)
        self._durable = check_durable(durable)
        if workers_too and (tls is not None or credentials is not None):
            raise ValueError("workers_too: what is secret must be in the URLs of the servers")
        self._workers_too = workers_too
        self._secret = secret
        self._replicas = replicas
        self._ttl = ttl
        self._denied: dict[str, None] = {}
        self._client_scope = trio.CancelScope()
        self._stores: dict[str, Store] = {}
        self._may_go = trio.Event()
        self._client_ended = trio.Event()

    @property
    def nodes(self) -> Mapping[str, int]:
        """The nodes that are there, as far as the store has told, with their incarnations."""
        return self._nats_endpoint.incarnations

    @property
    def bucket_name(self) -> str:
        """Of the cluster's bucket in the engine's key-value store."""
        return f"trouper-{self.cluster}"

    async def attach(self, system: ActorSystem) -> None:
        """The system has been entered: connect with the engine, then as every node.

        Raises:
            CannotJoin: the engine cannot be reached, is too old, or refuses this node.
        """
        try:
            await system._nursery.start(self._with_client, system)
        except NatsError as error:  # (a CannotJoin is none)
            hint = next((hint for cls, hint in HINTS if isinstance(error, cls)), "")
            raise CannotJoin(f"cluster {self.cluster}", f"{error}{hint}") from error
        try:
            self._keep_queues(system)
            await super().attach(system)
        except BaseException:
            self._client_scope.cancel()
            raise

    async def detach(self) -> None:
        """The system is being left."""
        try:
            if self._client.is_connected:
                with trio.move_on_after(LEAVE_WITHIN):
                    try:
                        await self._presence.leave()
                    except ActorError as error:
                        log.debug("%s: its key will end by itself: %s", self.name, error)
            await super().detach()
        finally:
            # What was said last, as that a message is to be given to another node, is written.
            self._may_go.set()
            with trio.move_on_after(LEAVE_WITHIN):
                await self._client_ended.wait()
            self._client_scope.cancel()
            with trio.CancelScope(shield=True):
                await self._client_ended.wait()

    async def opened(self, connections: Connections) -> None:
        """Call who is there, from now on; those that are there already are known afterwards."""
        self._engine = connections
        self.start_soon(self._presence.run)
        self._gateway = Gateway(self, self._client, self._exposed)
        for store in self._stores.values():
            self.start_soon(store.run)
        with trio.move_on_after(ENTER_WITHIN):
            await self._presence.current.wait()

    def engine_of_workers(self) -> dict[str, Any] | None:
        """See `Node.engine_of_workers`."""
        if not self._workers_too:
            return None
        secret = None if self._secret is None else self._secret.hex()
        return {"servers": self._servers, "cluster": self.cluster, "secret": secret}

    async def _with_client(self, system: ActorSystem, task_status: trio.TaskStatus[None]) -> None:
        """The client, for as long as this node is there."""
        name, env = system.name, system.env
        client = self._client = Client(
            self._servers,
            name=f"trouper {self.cluster} {name}",
            credentials=self._credentials,
            tls=self._tls,
            settings=SETTINGS,
            on_event=self._on_event,
            env=env,
        )
        try:
            with self._client_scope:
                async with client:
                    if not client.server_info.jetstream:
                        raise CannotJoin(
                            f"cluster {self.cluster}",
                            f"{client.server}: its nodes meet in a bucket, and this server has no "
                            "JetStream: switch it on (nats-server --jetstream)",
                        )
                    self._incarnation = incarnation = await self._enter(client, system)
                    endpoint = self._nats_endpoint
                    endpoint.introducer.nonce = env.nonce
                    endpoint.incarnations = self._presence.nodes
                    listening = endpoint.open(client, name, incarnation)
                    with contextlib.suppress(NotConnected, OutcomeUnknown):
                        # (Else another server says it, in the log.)
                        await client.flush()
                    if listening.error is not None:
                        # It would call others, and hear of no answer.
                        await self._presence.leave()
                        raise listening.error
                    # From now on as the node: a cancellation from outside reaches the body of
                    # `async with` first, which may still talk to others.
                    self._client_scope.shield = True
                    task_status.started()
                    await self._may_go.wait()
        finally:
            self._nats_endpoint.break_all("the node has left")
            self._client_ended.set()

    async def _enter(self, client: Client, system: ActorSystem) -> int:
        """Put this node's key into the bucket, for which JetStream may still elect a leader.

        Returns the incarnation.

        Raises:
            NatsError: it is refused; or there was no leader for ENTER_WITHIN seconds.
        """
        give_up_at = trio.current_time() + ENTER_WITHIN
        while True:
            try:
                self.bucket = await self._open_bucket(client)
                self._presence = Presence(
                    *(self.bucket, system.name, system.env, self._ttl, self._durable),
                    *(self._came, self._went, self._replaced),
                    partial(self._open_bucket, client),
                )
                incarnation = await self._presence.enter(self._incarnation)
            except (NoResponders, RequestTimeout, OutcomeUnknown, NotConnected) as error:
                if trio.current_time() >= give_up_at:
                    raise
                log.info("%s: the engine's store does not answer yet: %s", system.name, error)
                await trio.sleep(0.25)
            else:
                self._store = NatsStore(self.bucket)
                return incarnation

    async def _open_bucket(self, client: Client) -> KeyValue:
        """The bucket that is there, as whoever has made it wanted it; or else a new one.

        Raises:
            CannotJoin: the one that is there is of no use for nodes.
            NatsError: the store cannot be reached, or refuses.
        """
        bucket = KeyValue(client, self.bucket_name)
        try:
            await KeyValue.create_bucket(
                client,
                self.bucket_name,
                marker_ttl=MARKERS,
                replicas=self._replicas,
                timeout=ATTEMPT,
                # Fencing numbers grow, also over a store that was lost and is made anew.
                first_revision=client.env.incarnation() // NANOSECONDS_OF_REVISION,
            )
        except ApiError as error:
            if error.err_code != ANOTHER_CONFIG:
                raise
        else:
            return bucket
        config = (await bucket.info()).config
        if not config.get("allow_msg_ttl") or not config.get("subject_delete_marker_ttl"):
            raise CannotJoin(
                f"cluster {self.cluster}",
                f"{client.server}: the bucket {self.bucket_name} lets no keys end by themselves: "
                "delete it, and a node makes another one",
            )
        return bucket

    def _keep_queues(self, system: ActorSystem) -> None:
        ordinary = system._resolvers["queue"]
        stores = self._stores = {
            name: Store(self, self._client, name, self._replicas) for name in self._durable
        }
        for name, store in stores.items():
            self.directory.kept[name] = store.changed

        def resolve(address: Address) -> ActorRef:
            store = stores.get(address.path)
            return ordinary(address) if store is None else store.ref()

        system.install_resolver("queue", resolve)

    def _came(self, name: str, record: Record) -> None:
        if name != self.name:
            theirs = [each for each in record.durable if each not in self._durable]
            ours = [each for each in self._durable if each not in record.durable]
            for keeper, other, queues in ((name, self.name, theirs), (self.name, name, ours)):
                if queues:
                    log.warning(
                        "node %s has the engine keep the queues %s, and node %s does not: what one "
                        "puts there the other never gets; give both the same durable=[...]",
                        *(keeper, queues, other),
                    )
        self._engine.call(Peer.by_name(name))

    def _went(self, name: str) -> None:
        self._engine.call_no_more(Peer.by_name(name))

    def _replaced(self) -> None:
        """The other process of this name answers programs that are no nodes, and this one not; nor
        does this one take anything more from durable queues."""
        self._gateway.close()
        for store in self._stores.values():
            store.close()

    def _on_event(self, event: Event) -> None:
        match event:
            case Disconnected(server, why):
                log.warning("NATS: the connection with %s is gone: %s", server, why)
                self._nats_endpoint.break_all("the engine is away")
                for store in self._stores.values():
                    store.disconnected()
            case Connected(server, again):
                level = logging.WARNING if again else logging.INFO
                log.log(level, "NATS: connected with %s%s", server, " again" if again else "")
                if again:
                    self._presence.renew_now()
            case LameDuck(server):
                log.info("NATS: %s is about to go, another server is looked for", server)
            case Failed(PermissionsViolation() as error) if str(error) not in self._denied:
                if len(self._denied) < MOST_DENIED:
                    self._denied[str(error)] = None
                    log.warning("NATS: %s", error)
            case Failed(error):
                log.debug("NATS: %s", error)
