"""A node: one actor system among others that it can talk to."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

import trio

from actors import (
    ActorRef,
    ActorSystem,
    DeadLetterReason,
    ExitReason,
    Failure,
    InvalidAddress,
    NodeDown,
    NotRunning,
    SystemClosed,
)
from actors.address import Address, check_name
from actors.cell import Cell
from actors.waiting import Waiter
from transports.cluster.membership import Membership
from transports.cluster.session import Lease
from transports.encoding import envelope
from transports.encoding.codec import Codec
from transports.endpoint import Endpoint, Peer
from transports.errors import RemoteFailure
from transports.nodes.connecting import Connections
from transports.nodes.cycles import Probes
from transports.nodes.directory import Directory
from transports.nodes.incoming import Incoming
from transports.nodes.limits import Limits
from transports.nodes.link import Link
from transports.nodes.outgoing import Outgoing
from transports.nodes.remote_ref import RemoteRef
from transports.nodes.spawnable import Recipe, Spawnable
from transports.nodes.spawner import Spawner
from transports.wire.session import Session
from transports.wire.session_states import State

if TYPE_CHECKING:
    from actors import Actor
    from actors.dispatcher import Dispatcher
    from supervision.processes import WorkerHost
    from transports.cluster.store import Store

log = logging.getLogger("transports")


class Node:
    """Connects one actor system with its peers: `ActorSystem("a", transport=Node(endpoint, ...))`.

    endpoint: where connections come from. peers: names of nodes to connect with; others may call.
    incarnation: an int that is larger each time that a node of this name starts; None: from the
    machine's clock. limits: see Limits. types: the classes of messages that are exchanged;
    None: all that `@message` has registered. spawnable: the classes of actors that peers may spawn
    here, each by its own name, or a dict of names and classes; they are told of them. None else is
    made for a peer. store: what the nodes of a cluster agree by, which `Singleton` and `Sharded`
    need; lease: how long a node that is not heard of keeps what it owns. One Node belongs to one
    system.

    Raises:
        InvalidAddress: a peer's name cannot stand in an address.
        NotAnActor: one in spawnable is no class of actors.
        ValueError: an incarnation below 1; or two classes have one name.
    """

    session_class: ClassVar[type[Session]] = Session
    ref_class: type[RemoteRef] = RemoteRef
    system: ActorSystem

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        peers: Iterable[str | Peer] = (),
        incarnation: int | None = None,
        limits: Limits | None = None,
        types: Iterable[type] | None = None,
        spawnable: Iterable[Recipe] | Mapping[str, Recipe] = (),
        store: Store | None = None,
        lease: Lease | None = None,
    ) -> None:
        if incarnation is not None and (type(incarnation) is not int or incarnation < 1):
            raise ValueError(f"incarnation is an int from 1 up: {incarnation!r}")
        if limits is not None and not isinstance(limits, Limits):
            raise TypeError(f"limits is Limits(...), not {limits!r}")
        if lease is not None and not isinstance(lease, Lease):
            raise TypeError(f"lease is Lease(...), not {lease!r}")
        self.endpoint = endpoint
        self._peers = tuple(
            peer if isinstance(peer, Peer) else Peer.by_name(peer) for peer in peers
        )
        self.limits = limits if limits is not None else Limits()
        self._incarnation = incarnation
        self._types = None if types is None else tuple(types)
        self._links: dict[str, Link] = {}
        self.worker_nodes: dict[str, Endpoint] = {}
        """The nodes of worker processes, each with where it joins; see `host_workers`."""
        self._refs: WeakValueDictionary[Address, RemoteRef] = WeakValueDictionary()
        self.directory = Directory(self)
        self.spawnable = Spawnable(self, spawnable)
        self.spawner = Spawner(self)
        self.probes = Probes(self)
        self._scope = trio.CancelScope(shield=True)
        self._ended = trio.Event()
        self._connections: list[Connections] = []
        self._next_session = 1
        self._met = trio.Event()
        """There is a new link."""
        self.leaving = False
        self._store = store
        self._lease = lease if lease is not None else Lease()
        self.membership: Membership | None = None

    # -- a transport

    async def attach(self, system: ActorSystem) -> None:
        """The system has been entered."""
        if "system" in vars(self):
            raise ValueError(f"this Node belongs to {self.system!r} already: make a new one")
        self.system = system
        self.name = system.name
        self.dispatcher: Dispatcher = system._dispatcher
        self.incarnation = self._incarnation or system.env.incarnation()
        self.codec = self.new_codec()
        local = system._resolvers["actor"]
        system.install_resolver(
            "actor",
            lambda address: local(address) if address.node == self.name else self._remote(address),
        )
        system.install_elsewhere(self.spawner)
        self.directory.attach()
        self.spawnable.attach()
        # Shielded, as the dispatcher: a cancellation from outside reaches the body of `async with`
        # first, which may still talk to other nodes; then `detach` ends this.
        opened = trio.Event()
        self.dispatcher.at_end[self._scope.cancel] = None
        if self._store is not None:
            self.membership = Membership(
                system, self._store, self._lease, self.incarnation, self.codec
            )
        system._nursery.start_soon(self._run, opened)
        with trio.CancelScope(shield=True):
            await opened.wait()

    async def detach(self) -> None:
        """The system is being left: say goodbye, and let go."""
        if self.membership is not None:
            await self.membership.leave()
        self.leaving = True
        with contextlib.ExitStack() as letting_go:
            letting_go.callback(self._let_go)
            try:
                await self._say_goodbye()
            finally:
                # A reader may be in the middle of what has arrived: it is let finish, while the
                # system can still take a message, or refuse it.
                self._scope.cancel()
                with trio.CancelScope(shield=True):
                    await self._ended.wait()

    async def _say_goodbye(self) -> None:
        # A peer may be forgotten, and another one call, meanwhile.
        saying = [(link, link.session) for link in self._links.values() if link.has_to_say_goodbye]
        with trio.move_on_after(self.limits.leave_within):
            for link, _ in saying:
                link.outgoing.leave()
            for link, session in saying:
                # The connection may break in the middle of it: the next one goes on with it.
                while link.session is session and session.state is not State.CLOSED:
                    await link.changed.wait()

    def _let_go(self) -> None:
        """End every wait for a peer. Whatever one of these raises, the others are done."""
        with contextlib.ExitStack() as letting_go:
            letting_go.callback(self._met.set)
            for link in reversed(self._links.values()):
                down = NodeDown(link.peer, "this system was left")
                letting_go.callback(link.change)
                letting_go.callback(link.outgoing.lost, down, for_good=True)
                letting_go.callback(link.incoming.lost)

    async def _run(self, opened: trio.Event) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    await self.opened(self.connect(self.endpoint, self._peers))
                    if self.membership is not None:
                        nursery.start_soon(self.membership.run)
                        await self.membership.joined()
                    opened.set()
                    # Also a node that nobody can call, and that calls nobody, may do so later.
                    await trio.sleep_forever()
        finally:
            # Where that failed, too: `attach` waits for it, shielded.
            opened.set()
            self._ended.set()

    # -- connections

    async def opened(self, connections: Connections) -> None:
        """Those over the endpoint are made from now on; the system is entered afterwards."""

    def start_soon(self, work: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """A task that ends with this node."""
        self._nursery.start_soon(work, *arguments)

    async def start(self, work: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """The same; returns when it has said `task_status.started()`."""
        await self._nursery.start(work, *arguments)

    def connect(self, endpoint: Endpoint, peers: Iterable[Peer]) -> Connections:
        """Be called at an endpoint from now on, and call these peers by it."""
        connections = Connections(self, endpoint)
        self._connections.append(connections)
        known = tuple(peers)
        for peer in known:
            if peer.name not in {None, self.name}:
                self.make_link(peer.name)
        self._nursery.start_soon(endpoint.serve, connections.called)
        for peer in known:
            connections.call(peer)
        return connections

    async def host_workers(
        self,
        nodes: Sequence[str],
        actors: Sequence[type[Actor]],
        modules: Iterable[str],
        options: Mapping[str, Any],
    ) -> WorkerHost:
        """See `supervision.processes.HostsWorkers`; Raises as said there."""
        from transports.worker.host import open_host  # it builds on this module

        return await open_host(self, nodes, actors, modules, options)

    def engine_of_workers(self) -> dict[str, Any] | None:
        """What worker processes make their nodes with, if they join over an engine.

        None: they have sockets of this machine for themselves.
        """
        return None

    def make_link(self, peer: str) -> Link:
        """The link with a peer, made when it is first heard of."""
        link = self._links.get(peer)
        if link is None:
            session = self.new_session(self._next_session)
            link = self._links[peer] = Link(self, peer, session)
            self._nursery.start_soon(link.watch_over)
            met, self._met = self._met, trio.Event()
            met.set()
        return link

    def objection(self, endpoint: Endpoint, peer: str) -> str | None:
        """What is against a peer of that name on a connection of that endpoint; None: nothing.

        A worker joins at a socket of its own by a secret of its own. Elsewhere nobody is it: who
        took its name would fence it, and be given what is meant for it.
        """
        if self.worker_nodes.get(peer, self.endpoint) is endpoint:
            return None
        is_worker = "a" if peer in self.worker_nodes else "no"
        return f"{peer} is the name of {is_worker} worker process of {self.name}"

    def forget(self, link: Link) -> bool:
        """Forget a peer that is out of reach, if it is not one that this node calls, or starts."""
        if link.peer in self.worker_nodes:
            return False
        if any(connections.calls(link) for connections in self._connections):
            return False
        # The peer may remember the session of now: a later one must not have its number.
        self._next_session = max(self._next_session, link.session.number + 1)
        del self._links[link.peer]
        return True

    def new_session(self, number: int) -> Session:
        """A session of that number, with this node's limits."""
        limits = self.limits
        return self.session_class(
            limits.window,
            limits.resend_after,
            heartbeat=limits.heartbeat,
            max_frame=limits.max_frame,
            number=number,
            window_bytes=limits.window_bytes,
        )

    def new_codec(self) -> Codec:
        """What encodes and decodes this node's messages."""
        return Codec(self._types, resolve=self.system.at, max_size=self.limits.max_message)

    def new_incoming(self, peer: str, session: Session, outgoing: Outgoing) -> Incoming:
        """The receiving side of a link, for one session."""
        return Incoming(self, peer, session, outgoing)

    def says_goodbye_to(self, peer: str) -> bool:
        """Whether this node is being left, and a peer has still to hear so."""
        return peer in self._links and self._links[peer].says_goodbye

    async def reached(self, peer: str) -> None:
        """Wait until there is a connection with a peer, and this node knows what that one has.

        That is: the subscribers, consumers and instances there were when they met. So after it a
        first ask to a service of the peer finds it. A peer that nobody calls is waited for until
        it calls; a node has always reached itself. Always a checkpoint.

        Raises:
            InvalidAddress: no node can have that name.
            NotRunning: the system has not been entered.
            SystemClosed: it has been left, before this or meanwhile.
        """
        check_name(peer, "node's name")
        if "system" not in vars(self):
            raise NotRunning(peer, f"node {peer!r} is reached once the actor system is entered")
        await trio.lowlevel.checkpoint()
        while self.link(peer) is None or not self._links[peer].up:
            if peer == self.name:
                return
            link = self._links.get(peer)
            await (self._met if link is None else link.changed).wait()
        link = self._links[peer]
        session = link.session
        # The peer has said what it has before it answers anything.
        waiter = link.outgoing.stops.round_trip()
        asker = self.asker()
        if asker is None:
            await waiter.wait(self.dispatcher)
        else:
            await asker._wait_as(asker, waiter)
        if self.leaving or link.session is not session:
            await self.reached(peer)

    # -- what refs and links need

    def link(self, peer: str) -> Outgoing | None:
        """The sending side of the link with a peer; None: no such node is known.

        Raises:
            SystemClosed: the system has been left.
        """
        if self.leaving:
            raise SystemClosed(self.name)
        link = self._links.get(peer)
        return None if link is None else link.outgoing

    def link_still(self, peer: str) -> Outgoing | None:
        """The same while the system is being left: for those who let go of something."""
        link = self._links.get(peer)
        return None if link is None else link.outgoing

    def why_away(self, peer: str) -> str:
        """That there is no connection with a peer now, and why; "" if there is one."""
        link = self._links.get(peer)
        if link is None or link.is_up():
            return ""
        why = link.trouble or link.unanswered
        return f"there is no connection with node {peer}" + (f": {why}" if why else "")

    def links(self) -> Iterator[Link]:
        """The links there are."""
        return iter(tuple(self._links.values()))

    def wake(self, peer: str) -> None:
        """There is something to write to this peer."""
        self._links[peer].wake()

    def is_up(self, name: str) -> bool:
        """Whether there is a connection with this node now; it may be this one itself."""
        return name == self.name or (name in self._links and self._links[name].up)

    async def wait(self, waiter: Waiter) -> Any:
        """Wait as the actor on whose turn this is called, if there is one."""
        asker = self.asker()
        if asker is None:
            return await waiter.wait(self.dispatcher)
        return await asker._wait_as(asker, waiter)

    def asker(self) -> Cell | None:
        """The actor on whose turn, or in whose nursery, this is called."""
        return self.dispatcher.current or self.dispatcher.workers.cell_of_task()

    def ref_of(self, address: str) -> ActorRef:
        """The ref of an address."""
        return self.system.at(address)

    def refs_of(self, chain: Iterable[str]) -> list[ActorRef]:
        """The refs of addresses that a peer gave; of what is none, none."""
        refs = []
        for address in chain:
            with contextlib.suppress(InvalidAddress):
                refs.append(self.ref_of(address))
        return refs

    def _remote(self, address: Address) -> RemoteRef:
        ref = self._refs.get(address)
        if ref is None:
            ref = self._refs[address] = self.ref_class(self, address)
        return ref

    def no_such_node(self, ref: ActorRef, message: object) -> None:
        """A message for a node that nobody knows is a dead letter."""
        self.dispatcher.counters.at_the_door += 1
        self.dispatcher.dead_letters.add(ref, message, DeadLetterReason.NO_NODE)

    def reason_of(
        self, ref: ActorRef, peer: str, ended: envelope.Ended
    ) -> ExitReason | Failure | NodeDown:
        """Why an actor of a peer has ended."""
        if ended.reason != "failed":
            try:
                return ExitReason(ended.reason)
            except ValueError:
                return NodeDown(peer, f"it gave a reason unknown here: {ended.reason}")
        error = RemoteFailure(peer, ended.text, ended.trace)
        return Failure(ref, error, "receive", None, 0)
