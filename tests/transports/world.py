"""Two nodes with a session each, and a network between them that may do whatever it likes."""

from __future__ import annotations

from collections import deque
from random import Random

import msgspec

from transports.errors import DecodeError
from transports.wire.handshake import Agreed, Handshake, Refused
from transports.wire.outbound import AROUND
from transports.wire.session import Session
from transports.wire.session_states import State

WINDOW = 5
SETTINGS = {"resend_at_most": 4.0, "heartbeat": 2.0, "window_bytes": 60}


class Node:
    """One end: its session, and what the promises say about it is written down beside it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.incarnation = 1
        self.session = Session(WINDOW, 1.0, **SETTINGS)
        self.handshake: Handshake | None = None
        self.forget()

    def forget(self) -> None:
        """What follows is of another session."""
        self.sent: dict[int, tuple[bytes, bool]] = {}
        self.acknowledged: dict[int, None] = {}
        self.got: list[bytes] = []
        self.waiting: dict[int, bool] = {}
        self.accepted: dict[int, None] = {}

    @property
    def key(self) -> tuple[int, int]:
        return self.incarnation, self.session.number

    def knows(self, other: Node) -> bool:
        peer = self.session.peer
        return peer is not None and (peer.incarnation, peer.session) == other.key

    def left(self) -> list[tuple[int, bytes, bool]]:
        """What the peer has not acknowledged."""
        return [(n, *each) for n, each in self.sent.items() if n not in self.acknowledged]


class World:
    """Each method named in `STEPS` is one step, with one number to choose by."""

    STEPS = (
        *("send", "send", "send", "flush", "flush", "deliver", "deliver", "exchange"),
        *("exchange", "accept", "accept", "connect", "tick", "drop", "double", "swap"),
        *("accept_run", "accept_run", "send_run"),
    )
    RARE = ("cut", "crash", "abandon")

    def __init__(self) -> None:
        self.nodes = (Node("near"), Node("far"))
        self.wires: tuple[deque[bytes], deque[bytes]] | None = None
        self.now = 0.0
        self.made = 0
        self.delivered = 0

    def step(self, name: str, choice: int) -> None:
        getattr(self, name)(choice)
        self.check()

    def walk(self, random: Random, steps: int) -> None:
        rare = random.choice((0.002, 0.02))
        for _ in range(steps):
            name = random.choice(self.RARE if random.random() < rare else self.STEPS)
            self.step(name, random.randrange(1 << 16))
        self.calm()

    # -- what the nodes do

    def send(self, choice: int) -> None:
        node = self.nodes[choice % 2]
        charged = choice % 5 > 0
        if charged and not node.session.has_credit:
            return
        self.made += 1
        payload = msgspec.msgpack.encode(f"{node.name} {self.made}" + "." * (choice // 5 % 30))
        sequence = node.session.send(payload, charged)
        assert sequence == len(node.sent) + 1
        node.sent[sequence] = (payload, charged)

    def flush(self, choice: int) -> None:
        side = choice % 2
        if self.wires is None:
            assert self.nodes[side].session.outgoing(self.now) == []
            return
        node = self.nodes[side]
        if node.handshake is not None:
            self.wires[side].extend(node.handshake.outgoing())
        self.wires[side].extend(node.session.outgoing(self.now))

    def exchange(self, choice: int) -> None:
        for side in (0, 1):
            self.flush(side)
            for _ in range(choice % 7):
                self.deliver(side)

    def accept(self, choice: int) -> None:
        node = self.nodes[choice % 2]
        if node.waiting:
            # Out of order: any of those that wait.
            sequence = list(node.waiting)[choice // 2 % len(node.waiting)]
            del node.waiting[sequence]
            node.accepted[sequence] = None
            node.session.accepted(sequence)

    def accept_run(self, choice: int) -> None:
        """Several that follow one another at once; and it may be said later."""
        node = self.nodes[choice % 2]
        first = next(iter(node.waiting), 0)
        run = [first]
        while run[-1] + 1 in node.waiting and len(run) <= choice // 4 % 8:
            run.append(run[-1] + 1)
        if first:
            for sequence in run:
                del node.waiting[sequence]
                node.accepted[sequence] = None
            node.session.accepted(first, len(run), lazily=choice // 2 % 2 == 0)

    def send_run(self, choice: int) -> None:
        node = self.nodes[choice % 2]
        room = min(node.session.credit, max(0, node.session.credit_bytes // 20))
        payloads = []
        for _ in range(min(room, choice // 2 % 5)):
            self.made += 1
            payloads.append(msgspec.msgpack.encode(f"{node.name} {self.made}"))
        if payloads:
            first = node.session.send_run(list(payloads))
            assert first == len(node.sent) + 1
            node.sent.update(enumerate(((each, True) for each in payloads), first))

    def tick(self, choice: int) -> None:
        self.now += choice % 30 / 10

    def crash(self, choice: int) -> None:
        self.cut(0)
        node = self.nodes[choice % 2]
        node.incarnation += 1
        node.session = Session(WINDOW, 1.0, **SETTINGS)
        node.forget()

    def abandon(self, choice: int) -> None:
        self.cut(0)
        node = self.nodes[choice % 2]
        assert node.session.lost() == node.left()
        node.session = Session(WINDOW, 1.0, number=node.session.number + 1, **SETTINGS)
        node.forget()

    # -- what the network does

    def cut(self, choice: int) -> None:
        self.wires = None
        for node in self.nodes:
            node.handshake = None
            if node.session.state is State.CONNECTED:
                node.session.disconnected()

    def connect(self, choice: int) -> None:
        if self.wires is not None and not any(self.wires) and not self._agreed_on_both_sides():
            # A frame of the handshake was lost: its deadline.
            self.cut(0)
        if self.wires is None:
            self.wires = (deque(), deque())
            for node in self.nodes:
                node.handshake = Handshake(node.session.hello(node.name, node.incarnation))

    def _agreed_on_both_sides(self) -> bool:
        return all(node.handshake and node.handshake.result for node in self.nodes)

    def _wire(self, choice: int) -> deque[bytes]:
        return self.wires[choice % 2] if self.wires is not None else deque()

    def drop(self, choice: int) -> None:
        wire = self._wire(choice)
        if wire:
            del wire[choice // 2 % len(wire)]

    def double(self, choice: int) -> None:
        wire = self._wire(choice)
        if wire:
            wire.append(wire[choice // 2 % len(wire)])

    def swap(self, choice: int) -> None:
        wire = self._wire(choice)
        if len(wire) > 1:
            at = choice // 2 % (len(wire) - 1)
            wire[at], wire[at + 1] = wire[at + 1], wire[at]

    def deliver(self, choice: int) -> None:
        wire = self._wire(choice)
        if wire:
            self._take(self.nodes[1 - choice % 2], wire.popleft())

    def _take(self, node: Node, frame: bytes) -> None:
        if node.handshake is not None and node.handshake.result is None:
            result = node.handshake.received(frame)
            if isinstance(result, Refused):
                # Its frames came torn or out of order; the next connection may do.
                self.cut(0)
            elif result is not None:
                self._agreed(node, result)
            return
        try:
            deliveries = node.session.received(frame, self.now)
        except DecodeError as error:
            assert "REFUSE" in error.why
            self.cut(0)
            return
        for delivery in deliveries:
            for sequence, payload in enumerate(delivery.payloads(), delivery.sequence):
                node.got.append(payload)
                assert sequence == len(node.got)
                node.waiting[sequence] = delivery.charged
                self.delivered += 1
        for sequence in node.session.acknowledged():
            assert sequence not in node.acknowledged
            node.acknowledged[sequence] = None

    def _agreed(self, node: Node, agreed: Agreed) -> None:
        if not agreed.resumed and node.session.peer is not None:
            assert node.session.lost() == node.left()
            node.session = node.session.renewed()
            node.forget()
        node.session.connected(agreed, self.now)

    # -- the promises

    def check(self) -> None:
        for node, other in (self.nodes, self.nodes[::-1]):
            if node.knows(other):
                # In order, each once, none left out.
                sent = [payload for payload, _ in other.sent.values()]
                assert node.got == sent[: len(node.got)]
                if other.knows(node):
                    assert other.acknowledged.keys() <= node.accepted.keys()
            assert sum(node.waiting.values()) <= WINDOW
            assert sum(charged for _, _, charged in node.left()) <= WINDOW
            assert node.session.unacknowledged == len(node.left())
            self.check_sizes(node)

    def check_sizes(self, node: Node) -> None:
        """Each side knows how many bytes it holds."""
        out, left = node.session._out, node.left()
        assert out.charged == sum(charged for _, _, charged in left)
        assert out.charged_bytes == sum(len(payload) for _, payload, charged in left if charged)
        uncharged = [len(payload) + AROUND for _, payload, charged in left if not charged]
        assert out.uncharged_bytes == sum(uncharged)
        waits = [len(node.got[each - 1]) for each, charged in node.waiting.items() if charged]
        assert node.session._in._bytes == sum(waits)

    def close(self) -> None:
        """Both sides end the session, over a network without faults."""
        for node in self.nodes:
            node.session.close()
        for side in (0, 1, 0, 1):
            self.flush(side)
            for _ in range(len(self._wire(side))):
                self.deliver(side)
        for node in self.nodes:
            assert node.session.state is State.CLOSED
            assert node.session.lost() == []

    def calm(self) -> None:
        """The faults end: everything arrives, is accepted, and is known to be."""
        for _ in range(20):
            # A connection that stands is kept: the sessions repair what went wrong on it.
            if self.wires is None or not self._agreed_on_both_sides():
                self.cut(0)
                self.connect(0)
            for side in (0, 1, 0, 1, 0, 1):
                self.flush(side)
                for _ in range(len(self._wire(side))):
                    self.deliver(side)
                while self.nodes[1 - side].waiting:
                    self.accept(1 - side)
                self.check()
            # The timers repair what was lost with a frame before.
            self.now += 2.0
        near, far = self.nodes
        for node, other in ((near, far), (far, near)):
            assert node.session.state is State.CONNECTED
            assert node.got == [payload for payload, _ in other.sent.values()]
            assert node.left() == []
            assert node.session.has_credit
