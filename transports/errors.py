"""The errors of `transports`; the tree is drawn in `actors.errors`."""

from __future__ import annotations

from typing import ClassVar

from actors import ActorError


class NotEncodable(ActorError, TypeError):
    """A message, reply or class cannot be sent to another process.

    Attributes: `value`, `why`, `path` (where in the value: "$" is its top, "$.items[1]" below).
    """

    def __init__(self, value: object, why: str, path: str = "$") -> None:
        self.value = value
        self.why = why
        self.path = path
        cls = value if isinstance(value, type) else type(value)
        where = "" if path == "$" else f" (at {path})"
        super().__init__(f"{cls.__name__} cannot be sent to another process: {why}{where}")


class DecodeError(ActorError, ValueError):
    """Bytes from a peer are not what they should be; nothing of them reaches an actor.

    Attributes: `path` (where in the message: "$" is its top, "$.items[1]" below), `why`.
    """

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"{why} (at {path})")


class RemoteFailure(ActorError):
    """What an actor of another node raised. Exceptions do not travel; their text does.

    Attributes: `node`, `text` (type and message), `trace` (the traceback there).
    """

    def __init__(self, node: str, text: str, trace: str = "") -> None:
        self.node = node
        self.text = text
        self.trace = trace
        super().__init__(f"{text} (on node {node})")
        if trace:
            self.add_note(f"traceback on node {node}:\n{trace}")


class WindowFull(ActorError):
    """The peer has as many messages, or bytes of them, that it has not accepted as it allows.

    Nothing was taken. Attribute: `window` (messages; 0 before the first connection).
    """

    def __init__(self, window: int) -> None:
        self.window = window
        super().__init__(
            f"the peer has not accepted so much that its window ({window} messages) is full"
            if window
            else "there is no window before the first connection with the peer"
        )


class ShardsDiffer(ActorError):
    """A region has another number of shards on another node: it cannot run on this one.

    Attributes: `region`, `node`, `shards` (here), `other` (a node), `theirs` (its shards).
    """

    def __init__(self, region: str, node: str, shards: int, other: str, theirs: int) -> None:
        self.region = region
        self.node = node
        self.shards = shards
        self.other = other
        self.theirs = theirs
        super().__init__(
            f"{region!r} has {shards} shards on node {node}, and {theirs} on node {other}: one key "
            "would have two entities; give it the same shards=... on all nodes"
        )


class NoStore(ActorError):
    """Something that there is once in a cluster was to start where the nodes share no store.

    Attribute: `system` (its name).
    """

    def __init__(self, system: str) -> None:
        self.system = system
        super().__init__(
            f"the actor system {system!r} shares no store with other nodes, by which they would "
            "agree who owns what: give its transport one, as in Node(..., store=...), or use "
            "Nats(...), which has the engine's"
        )


class WrongState(ActorError, RuntimeError):
    """Something was asked of a protocol that its state does not allow: a fault of the caller.

    Attributes: `state`, `event` (their names in the table of the protocol).
    """

    def __init__(self, state: str, event: str) -> None:
        self.state = state
        self.event = event
        super().__init__(f"{event} is not possible in the state {state}")


class CannotListen(ActorError, OSError):
    """A node cannot be reached at a place, or it would not be safe to listen at it, or to call it.

    Attributes: `where`, `why`. calls: it is the place of another node.
    """

    def __init__(self, where: str, why: str, *, calls: bool = False) -> None:
        self.where = where
        self.why = why
        super().__init__(f"cannot {'call' if calls else self._verb} {where}: {why}")

    _verb: ClassVar[str] = "listen at"


class CannotJoin(CannotListen):
    """A node cannot enter its cluster, as the servers over which that meets are.

    Attributes: `where` ("cluster NAME", or the place of a server), `why`.
    """

    _verb = "join"
