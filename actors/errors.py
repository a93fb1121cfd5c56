"""Every error that `actors` raises, each with the data a program needs to react to it.

ActorError
|-- MailboxFull          the mailbox has no room; the message comes back in the error
|-- ActorFailed          an asked handler raised; the cause is attached
|-- ActorStopped         the asked actor has stopped, or never existed
|-- AskTimeout           no reply in time; says where the message was
|-- AskCycle             the ask would wait, directly or not, for the asker itself
|-- HandlerTimeout       (also TimeoutError) a handler took longer than its class allows
|-- StartTimeout         (also TimeoutError) `started()` took longer than the parent allows
|-- LinkBroken           a linked actor has failed or was stopped
|-- NameTaken            a sibling already has that name
|-- NoNode               no node that lives takes actors of a class
|-- InvalidAddress       (also ValueError) not an address, or a name no address can hold
|-- NotAMessage          (also TypeError) a class where a message is needed, or an undecorated one
|-- NotAnActor           (also TypeError) spawn of something that is no Actor class
|-- NotAskable           (also TypeError) an ask to what has no one reply: a topic, a stream
|-- NotStreamable        (also TypeError) a stream of what answers with none
|-- NotRunning           (also RuntimeError) a system, or a handler's context, used outside its time
|   `-- SystemClosed     the system has been left
|-- WrongThread          (also RuntimeError) used from a thread that does not run the system
|-- LeftOpen             (also RuntimeError) a handler or hook did not leave a nursery or scope
|-- ForgottenAwait       (also TypeError) a handler returned a coroutine that nobody awaits, or a
|                        stream that nobody consumes
|-- in `supervision.errors`
|   |-- TooManyRestarts  the children of a supervisor failed more often than its strategy allows
|   |-- ChildExited      a child ended that is kept alive: why its siblings are restarted
|   |-- ChildLost        a child lived on a node that is lost
|   |-- TooManyChildren  a dynamic supervisor has all the children it may have
|   |-- NoSuchChild      a supervisor has no child of that name
|   |-- WorkerExited     the process of a worker has ended
|   |-- WorkerLost       the process of a worker is there, but is silent: it is killed
|   `-- TryAgainLater    nothing was sent, and it is known when to try again
|       |-- CircuitOpen  a circuit breaker lets nothing through now
|       `-- RateLimited  it is too soon for another message
`-- in `transports.errors`
    |-- NotEncodable     (also TypeError) a message cannot be sent to another process
    |-- DecodeError      (also ValueError) bytes from a peer are not what they should be
    |-- RemoteFailure    what an actor of another node raised, as text
    |-- CannotListen     (also OSError) a place is taken, or would be open to strangers
    |   `-- CannotJoin   a node cannot enter its cluster, as the servers of NATS are
    |-- NoStore          what there is once in a cluster needs a store that its nodes share
    |-- ShardsDiffer     a region has another number of shards on another node
    |-- NoSuchMessage    (also LookupError) no message of that name is registered on this node
    |-- StoreError       in `transports.cluster.store`: of a store that the nodes of a cluster share
    |   |-- KeyExists    a key was to be created, and is there
    |   |-- WrongRevision     a key has another revision than was expected
    |   `-- StoreUnavailable  there was no answer: whether it was done is not known
    |-- in `transports.control`: of the socket by which a shell reaches a node
    |   |-- NoNodeHere   no node can be reached, or which one is meant is not clear
    |   |-- Refused      the node has answered by an error, with its code
    |   |-- NoPlace      (also OSError) there can be no socket at that place
    |   `-- NodeRuns     a node of that name runs here already
    |-- WindowFull       the peer has accepted too few messages to be sent another
    |-- WrongState       (also RuntimeError) a protocol was asked for what its state does not allow
    `-- NatsError        in `transports.nats.errors`: what goes wrong with NATS
        |-- ProtocolFault      (also ValueError) what a server has sent is no NATS protocol
        |-- InvalidSubject     (also ValueError) no subject, or no pattern of subjects
        |-- InvalidHeader      (also ValueError) a header that cannot be sent as it is
        |-- PayloadTooLarge    (also ValueError) the server takes no message that large
        |-- OutboxFull         what waits to be written has no room; the data come back
        |-- NotConnected       there is no connection, and nothing was to wait for one
        |-- ClientClosed       (also RuntimeError) the client was not entered, or was left
        |-- CannotConnect      (also OSError) no server of the pool could be reached
        |-- Refused            a server was reached, and there is no agreement with it
        |   |-- AuthorizationViolation  the credentials are wrong, have expired, or are missing
        |   `-- ServerTooOld   it is older than 2.11
        |-- PermissionsViolation  this user may not publish or subscribe to a subject
        |-- ServerError        another error that the server has said
        |-- NoResponders       nobody is subscribed to the subject of a request
        |-- RequestTimeout     (also TimeoutError) no reply came in time
        |-- OutcomeUnknown     the connection broke: nobody knows whether it was done
        |-- SlowConsumer       a subscription had no room, and messages were dropped
        |-- ApiError           JetStream has refused, with its codes
        |-- KeyNotFound        (also LookupError) a bucket has no value for a key
        |-- WrongRevision      a key has another revision than was expected
        |   `-- KeyExists      a key was to be created, and is there
        |-- MissingExtra       (also ImportError) a package that an extra brings is not there
        |-- ServerNotFound     (also FileNotFoundError) there is no nats-server to start
        `-- CannotStart        (also OSError) a nats-server did not come up
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.failure import ExitReason, Failure
    from actors.ref import ActorRef


def brief(value: object, limit: int = 200) -> str:
    """`repr(value)`, at most `limit` characters of it, and never an exception."""
    try:
        text = repr(value)
    except Exception as error:
        # A repr belongs to the user; a report of one failure must not die of a second one.
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


class ActorError(Exception):
    """The base of every error of this package."""


class MailboxFull(ActorError):
    """The actor's mailbox has no room, so the message was not taken.

    Attributes: `ref`, `message` (yours again), `capacity` (messages), `chain` (the refs that wait
    for one another, if waiting for room could never end; else empty).
    """

    def __init__(
        self,
        ref: ActorRef,
        message: object,
        capacity: int | None,
        chain: Sequence[ActorRef] = (),
    ) -> None:
        self.ref = ref
        self.message = message
        self.capacity = capacity
        self.chain = tuple(chain)
        text = f"{ref} holds {capacity} messages and has no room for {brief(message)}"
        if self.chain:
            waits = " -> ".join(str(link) for link in self.chain)
            text += f"; waiting for room would never end: {waits}"
        else:
            text += "; `await ref.send(...)` waits for room"
        super().__init__(text)


class ActorFailed(ActorError):
    """The handler that was asked raised. `cause` is what it raised; also `__cause__`.

    Attributes: `ref`, `message`, `cause`.
    """

    def __init__(self, ref: ActorRef, message: object, cause: BaseException) -> None:
        self.ref = ref
        self.message = message
        self.cause = cause
        super().__init__(f"{ref} failed handling {brief(message)}: {cause!r}")
        self.__cause__ = cause


class ActorStopped(ActorError):
    """The actor that was asked has stopped, stops before it could answer, or never was.

    Attributes: `ref`, `message`, `reason` (a short text), `started` (whether a handler had
    begun with it, also if that stashed or forwarded it: nobody knows how far it came).
    """

    def __init__(
        self, ref: ActorRef, message: object, reason: str, *, started: bool = False
    ) -> None:
        self.ref = ref
        self.message = message
        self.reason = reason
        self.started = started
        # Without a message: its start was waited for, or it was to be registered.
        what = "is not there" if message is None else f"did not answer {brief(message)}"
        super().__init__(f"{ref} {what}: {reason}")


class AskTimeout(ActorError, TimeoutError):
    """No reply came within the time allowed.

    Attributes: `ref`, `message`, `timeout` (seconds), `where`: "waiting for room", "queued",
    "being handled", "deferred" (the handler called `reply_later`), "being streamed" (the next item
    did not come in time); of a ``queue://``, whether it has consumers; of an actor of another node,
    that it was sent there, and if there is no connection, why.

    who: what the text calls `ref`; "": by its address.
    """

    def __init__(
        self, ref: ActorRef, message: object, timeout: float, where: str, who: str = ""
    ) -> None:
        self.ref = ref
        self.message = message
        self.timeout = timeout
        self.where = where
        super().__init__(
            f"no reply from {who or ref} to {type(message).__name__} within {timeout:g} s: "
            f"the message was {where}"
        )


class AskCycle(ActorError):
    """The ask would wait for an actor that, directly or not, waits for the asker.

    Attributes: `chain`: the refs in order, the first one again at the end.
    """

    def __init__(self, chain: Sequence[ActorRef]) -> None:
        self.chain = tuple(chain)
        waits = " -> ".join(str(ref) for ref in self.chain)
        super().__init__(
            f"this ask would wait on itself: {waits}; "
            "use tell and a reply message, or reply_later(), to break the circle"
        )


class HandlerTimeout(ActorError, TimeoutError):
    """A handler was cancelled, because it took longer than `handle_within`; its actor failed.

    Attributes: `ref`, `message`, `seconds`.
    """

    def __init__(self, ref: ActorRef, message: object, seconds: float) -> None:
        self.ref = ref
        self.message = message
        self.seconds = seconds
        super().__init__(
            f"the handler of {ref} took longer than {seconds:g} s for {brief(message)}: "
            "it was cancelled"
        )


class StartTimeout(ActorError, TimeoutError):
    """`started()` was cancelled, because it took longer than the parent allows.

    Attributes: `ref`, `seconds`.
    """

    def __init__(self, ref: ActorRef, seconds: float) -> None:
        self.ref = ref
        self.seconds = seconds
        super().__init__(f"{ref} did not start within {seconds:g} s: its start was cancelled")


class LinkBroken(ActorError):
    """A linked actor ended otherwise than by NORMAL, so the actor at the other end fails too.

    Attributes: `ref` (the one that ended), `reason` (an ExitReason or the Failure).
    """

    def __init__(self, ref: ActorRef, reason: ExitReason | Failure) -> None:
        self.ref = ref
        self.reason = reason
        # Not the whole failure: in a long chain of links each would hold all those before it.
        failed = getattr(reason, "exception", None)
        why = f"ended ({reason})" if failed is None else f"failed ({type(failed).__name__})"
        super().__init__(f"linked to {ref}, which {why}")


class NameTaken(ActorError):
    """A sibling that is alive already has this name.

    Attributes: `name`, `holder` (its ref).
    """

    def __init__(self, name: str, holder: ActorRef) -> None:
        self.name = name
        self.holder = holder
        super().__init__(
            f"the name {name!r} is taken by {holder}; "
            "choose another one, leave it out for a unique one, or stop the holder first"
        )


class NoNode(ActorError):
    """No node that lives takes actors of this class, or the one that was named does not.

    Attributes: `cls` (its name), `on` (a node's name, a placement, or None), `nodes` (the classes
    that each node takes which is known here, by the node's name).
    """

    def __init__(
        self, cls: str, on: object, nodes: Mapping[str, Sequence[str]], why: str = ""
    ) -> None:
        self.cls = cls
        self.on = on
        self.nodes = {name: tuple(classes) for name, classes in nodes.items()}
        where = f"node {on!r} takes no" if isinstance(on, str) else "no node takes"
        known = "; ".join(
            f"{name} takes {', '.join(classes) or 'none'}" for name, classes in self.nodes.items()
        )
        super().__init__(
            f"{where} actors of class {cls}"
            + (f": {why}" if why else f" (connected are: {known or 'none'})")
            + f"; let it be made with spawnable=[{cls}] (WorkerProcesses: actors=[{cls}]), and be "
            "connected, or supervise a child(..., on=...), which waits for such a node"
        )


class InvalidAddress(ActorError, ValueError):
    """The text is no address, or the name cannot stand in one.

    Attributes: `text`, `why`.
    """

    def __init__(self, text: object, why: str) -> None:
        self.text = text
        self.why = why
        super().__init__(f"{brief(text)}: {why}")


class NotAMessage(ActorError, TypeError):
    """A message is needed and this is none. Attributes: `value`, `why`."""

    def __init__(self, value: object, why: str) -> None:
        self.value = value
        self.why = why
        super().__init__(f"{brief(value)} {why}")


class NotAnActor(ActorError, TypeError):
    """Only an Actor class, or a functools.partial of one, can be spawned. Attribute: `value`."""

    def __init__(self, value: object, why: str) -> None:
        self.value = value
        super().__init__(f"cannot spawn {brief(value)}: {why}")


class NotAskable(ActorError, TypeError):
    """What was asked has no one reply. Attributes: `ref`, `why`."""

    def __init__(self, ref: ActorRef, why: str) -> None:
        self.ref = ref
        self.why = why
        super().__init__(f"{ref} cannot be asked: {why}")


class NotStreamable(ActorError, TypeError):
    """What was to be streamed is answered by no stream. Attributes: `ref`, `why`."""

    def __init__(self, ref: ActorRef, why: str) -> None:
        self.ref = ref
        self.why = why
        super().__init__(f"{ref} cannot be streamed from: {why}")


class NotRunning(ActorError, RuntimeError):
    """Used outside the time in which it can be used. Attribute: `name` (of the system)."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        super().__init__(why)


class SystemClosed(NotRunning):
    """The actor system has been left. Attribute: `name`."""

    def __init__(self, name: str) -> None:
        super().__init__(
            name,
            f"the actor system {name!r} is closed: its `async with` block has been left, "
            "so nothing can be sent, spawned or asked any more",
        )


class WrongThread(ActorError, RuntimeError):
    """Called from a thread that does not run the system. Attribute: `name` (of the system)."""

    def __init__(self, name: str, what: str, *, inside: bool = False) -> None:
        self.name = name
        if inside:
            super().__init__(
                f"{what} blocks its thread, and was called from the one that runs the actor "
                f"system {name!r}; there use ref.tell / send / ask"
            )
            return
        super().__init__(
            f"{what} was called from another thread than the one that runs the actor system "
            f"{name!r}; from a thread use system.from_thread.tell / send / ask"
        )


class LeftOpen(ActorError, RuntimeError):
    """A handler or hook ended inside a nursery or cancel scope that it had entered.

    Its tasks have been cancelled; what they raised is the cause. Attribute: `ref`.
    """

    def __init__(self, ref: ActorRef, raised: Sequence[BaseException] = ()) -> None:
        self.ref = ref
        if raised:
            several = BaseExceptionGroup("what was left open raised", raised)
            self.__cause__ = raised[0] if len(raised) == 1 else several
        super().__init__(
            f"a handler or hook of {ref} entered a nursery or cancel scope and did not leave it: "
            "use `async with` and `with`, and let another actor do what is to go on"
        )


class ForgottenAwait(ActorError, TypeError):
    """A handler returned a coroutine that nobody awaits; or a stream, and the message was told.

    Attributes: `ref`, `handler`.
    """

    def __init__(self, ref: ActorRef, handler: str, *, streams: bool = False) -> None:
        self.ref = ref
        self.handler = handler
        if streams:
            super().__init__(
                f"{handler} of {ref} answered with an async generator a message that was told: "
                "nobody consumes it; use `async for item in ref.stream(...)`"
            )
            return
        super().__init__(
            f"{handler} of {ref} returned a coroutine it never awaited: "
            "write `async def` and `await` the call (or `return await ...`)"
        )
