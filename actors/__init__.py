"""Lightweight actors on trio: private state, mailboxes, and messages as the only way between them.

Read the modules in the order of a message's story: `messages`, `ref`, `cell` (its mailbox),
`dispatcher`, `turn` (the handler), `ask` (the reply); then `lifecycle` for an actor's own story.
"""

from actors.actor import Actor
from actors.address import Address
from actors.ask import Reply
from actors.context import Context
from actors.crash_reports import CrashReport, CrashReports
from actors.dead_letters import DeadLetter, DeadLetterReason
from actors.env import Env
from actors.errors import (
    ActorError,
    ActorFailed,
    ActorStopped,
    AskCycle,
    AskTimeout,
    ForgottenAwait,
    HandlerTimeout,
    InvalidAddress,
    LeftOpen,
    LinkBroken,
    MailboxFull,
    NameTaken,
    NoNode,
    NotAMessage,
    NotAnActor,
    NotAskable,
    NotRunning,
    NotStreamable,
    StartTimeout,
    SystemClosed,
    WrongThread,
)
from actors.failure import (
    Directive,
    Escalate,
    ExitReason,
    Failure,
    NodeDown,
    Restart,
    Resume,
    Stop,
    Terminated,
)
from actors.ledger import Ledger
from actors.mailbox import Mailbox
from actors.messages import Request, message
from actors.placement import Candidate, Hashed, LeastLoaded, Placement
from actors.ref import ActorRef
from actors.routing.services import Instance, ServiceRef
from actors.routing.topics import Gathered, Published, TopicRef
from actors.running import run
from actors.streams import Stream
from actors.system import ActorSystem
from actors.timers import Timer

__all__ = [
    "Actor",
    "ActorError",
    "ActorFailed",
    "ActorRef",
    "ActorStopped",
    "ActorSystem",
    "Address",
    "AskCycle",
    "AskTimeout",
    "Candidate",
    "Context",
    "CrashReport",
    "CrashReports",
    "DeadLetter",
    "DeadLetterReason",
    "Directive",
    "Env",
    "Escalate",
    "ExitReason",
    "Failure",
    "ForgottenAwait",
    "Gathered",
    "HandlerTimeout",
    "Hashed",
    "Instance",
    "InvalidAddress",
    "LeastLoaded",
    "Ledger",
    "LeftOpen",
    "LinkBroken",
    "Mailbox",
    "MailboxFull",
    "NameTaken",
    "NoNode",
    "NodeDown",
    "NotAMessage",
    "NotAnActor",
    "NotAskable",
    "NotRunning",
    "NotStreamable",
    "Placement",
    "Published",
    "Reply",
    "Request",
    "Restart",
    "Resume",
    "ServiceRef",
    "StartTimeout",
    "Stop",
    "Stream",
    "SystemClosed",
    "Terminated",
    "Timer",
    "TopicRef",
    "WrongThread",
    "message",
    "run",
]
