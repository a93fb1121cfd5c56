"""Random small worlds of scripted actors, and everything that must hold in all of them.

A world is data: how each actor is made, and what the tasks outside do. A message carries the
script that its handler performs, so one world can tell, ask, stash, fail, spawn and stop in any
order that a generator comes up with. `run_world` runs it under virtual time and keeps its own
books; what it finds wrong it collects in `World.wrong`.
"""

from __future__ import annotations

import collections
import gc
import itertools
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs
import trio
import trio.testing

from actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    ActorSystem,
    AskCycle,
    AskTimeout,
    Env,
    Escalate,
    Failure,
    Mailbox,
    MailboxFull,
    NameTaken,
    NotRunning,
    Restart,
    Resume,
    Stop,
)

Op = tuple[Any, ...]
Script = tuple[Op, ...]

STEPS = 250
"""Script steps that one world performs; then its handlers do nothing more, so it ends."""

ACTORS = 12
"""Actors that one world may have, over its whole life."""

IN_A_HANDLER = "in a handler"

FOR_EVER = 10_000.0
"""Virtual seconds after which a world counts as hung."""

READS = 60_000
"""Looks at the clock after which a world counts as spinning on the spot."""


class ScriptedError(Exception):
    """What a script raises."""


@attrs.frozen
class Kind:
    """How an actor is made. Hooks are scripts; `fails` are (what, incarnation) pairs."""

    waits: bool = False
    capacity: int | None = 10_000
    overflow: str = "reject"
    cancel_abandoned: bool = False
    shutdown: float = 2.0
    fails: tuple[tuple[str, int], ...] = ()
    init: Script = ()
    started: Script | None = None
    stopped: Script | None = None
    restarting: Script | None = None
    directives: tuple[str, ...] = ()


@attrs.frozen
class Plan:
    """A whole world."""

    kinds: tuple[Kind, ...] = (Kind(),)
    top: tuple[int, ...] = (0,)
    tasks: tuple[Script, ...] = ()
    ends: str = "normally"
    max_restarts: int | None = 3
    stop_within: float = 5.0
    slice_messages: int = 8
    schedule: int = 0


@attrs.frozen(eq=False)
class Msg:
    """One message: who sent it to whom, the how manieth between the two, and what to do with it."""

    number: int
    sender: object
    place: int
    how: str
    script: Script = ()


def virtual_clock() -> trio.testing.MockClock:
    """A clock that jumps ahead when nothing can run, and breaks off a world that hangs or spins.

    Raising where trio itself reads the clock is the one way out past shielded scopes.
    """
    clock = trio.testing.MockClock(autojump_threshold=0)
    read, reads = clock.current_time, itertools.count()

    def current_time() -> float:
        now = read()
        if now >= FOR_EVER:
            raise AssertionError("the world hangs: nothing but this has happened for hours")
        if next(reads) > READS:
            raise AssertionError(
                "the world hangs: nothing is due any more, or it spins on the spot"
            )
        return now

    clock.current_time = current_time  # type: ignore[method-assign]
    return clock


class World:
    """The books of one run, kept apart from the runtime's own."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.wrong: list[str] = []
        self.refs: list[ActorRef] = []
        self.steps = 0
        self.numbers = itertools.count(1)
        self.instances = itertools.count(1)
        self.places: dict[tuple[object, int], int] = collections.defaultdict(int)
        self.sent = 0
        self.sent_perhaps = 0
        self.handled = 0
        self.failed = 0
        self.messages: dict[int, Msg] = {}
        self.not_sent: set[int] = set()
        self.forwards: dict[int, int] = collections.Counter()
        self.fates: dict[int, list[str]] = collections.defaultdict(list)
        self.displaced: set[int] = set()
        self.newest: dict[tuple[object, int], int] = {}
        self.active: dict[int, str | None] = {}
        self.dead_incarnations: set[int] = set()
        self.stashes: dict[int, int] = collections.defaultdict(int)
        self.asks_begun = 0
        self.asks_ended = 0
        self.classes = [_actor_class(kind) for kind in plan.kinds]
        self.kind_of: dict[int, int] = {}
        self.instance_by_ref: dict[ActorRef, int] = {}
        self.system: ActorSystem

    def instance_of(self, ref: ActorRef) -> int | None:
        return self.instance_by_ref.get(ref)

    def note(self, text: str) -> None:
        self.wrong.append(text)

    def check_ledger(self, where: str) -> None:
        ledger = self.system.ledger
        if ledger.missing:
            self.note(f"{where}: missing {ledger.missing} in {ledger}")
        if where == IN_A_HANDLER:
            # There the batch that is running is not counted yet, so a count can be below zero.
            return
        negative = [name for name, value in attrs.asdict(ledger).items() if value < 0]
        if negative:
            self.note(f"{where}: negative {negative} in {ledger}")

    def ref(self, k: int) -> ActorRef | None:
        return self.refs[k % len(self.refs)] if self.refs else None

    def message(self, sender: object, to: ActorRef, how: str, script: Script) -> Msg:
        key = (sender, id(to))
        self.places[key] += 1
        message = Msg(next(self.numbers), sender, self.places[key], how, script)
        self.messages[message.number] = message
        return message

    def more(self) -> bool:
        self.steps += 1
        return self.steps <= STEPS

    @contextmanager
    def busy(self, instance: int, with_what: str) -> Iterator[None]:
        """No two handlers or hooks of one actor overlap, over all its incarnations."""
        other = self.active.get(instance)
        if other is not None:
            self.note(f"actor {instance} began {with_what} during {other}")
        self.active[instance] = with_what
        try:
            yield
        finally:
            self.active[instance] = None


class Hand:
    """Who performs a script: a task outside, a helper task of a handler, or an actor."""

    def __init__(self, world: World, name: object, actor: Scripted | None = None) -> None:
        self.world = world
        self.name = name
        self.actor = actor
        self.children = 0

    # -- what needs no waiting

    def tell(self, to: ActorRef, script: Script) -> None:
        message = self.world.message(self.name, to, "tell", script)
        try:
            to.tell(message)
        except MailboxFull:
            self.world.sent += 1
            self.world.not_sent.add(message.number)
        except NotRunning:
            self.world.not_sent.add(message.number)
        else:
            self.world.sent += 1

    def now(self, op: Op) -> bool:
        """Perform a step that needs no waiting. False: it is none of these."""
        world, what = self.world, op[0]
        to = world.ref(op[1]) if len(op) > 1 and isinstance(op[1], int) else None
        if what == "fail":
            raise ScriptedError
        if what == "fail in a group":
            raise ExceptionGroup("several", [ScriptedError(), ScriptedError()])
        if what == "ledger":
            world.check_ledger("in a script" if self.actor is None else IN_A_HANDLER)
        elif what == "tell" and to is not None:
            self.tell(to, op[2])
        elif what == "stop" and to is not None:
            with suppress(NotRunning):
                to.stop()
        elif what == "spawn":
            self.spawn(op[1])
        elif self.actor is None:
            return what in WITH_AN_ACTOR
        elif what in WITH_AN_ACTOR:
            self.actor.by_itself(op, to)
        else:
            return False
        return True

    def spawn(self, k: int, name: str | None = None) -> None:
        world = self.world
        if len(world.refs) >= ACTORS:
            return
        spawn = world.system.spawn if self.actor is None else self.actor.context.spawn
        index = k % len(world.classes)
        with suppress(NotRunning, NameTaken, ScriptedError):
            spawn(world.classes[index], world, index, next(world.instances), name=name)

    # -- what may wait

    async def perform(self, script: Script) -> None:
        for op in script:
            if not self.world.more():
                return
            if not self.now(op):
                await self.later(op)

    async def later(self, op: Op) -> None:
        world, what = self.world, op[0]
        to = world.ref(op[1]) if len(op) > 1 and isinstance(op[1], int) else None
        if what == "sleep":
            await trio.sleep(op[1])
        elif what == "checkpoint":
            await trio.lowlevel.checkpoint()
        elif what == "shield":
            with trio.CancelScope(shield=True):
                await trio.sleep(op[1])
        elif what == "swallow":
            with trio.CancelScope() as scope:
                try:
                    await trio.sleep(op[1])
                except trio.Cancelled:
                    if scope.cancel_called:
                        raise
        elif what == "at the end":
            try:
                await self.perform(op[1])
            finally:
                await self.perform(op[2])
        elif what == "limited":
            with trio.move_on_after(op[1]):
                await self.perform(op[2])
        elif what == "together":
            async with trio.open_nursery() as nursery:
                for script in op[1]:
                    self.children += 1
                    helper = Hand(world, (self.name, self.children, world.steps))
                    helper.actor = self.actor
                    nursery.start_soon(helper.perform, script)
        elif what == "start":
            await self.start(op[1])
        elif to is None:
            return
        elif what == "send":
            await self.send(to, op[2], op[3])
        elif what == "ask":
            await self.ask(to, op[2], op[3])
        elif what == "stopped":
            with trio.move_on_after(op[2]):
                with suppress(AskCycle, NotRunning):
                    await to.stopped()
        else:
            raise AssertionError(f"no such step: {op!r}")

    async def start(self, k: int) -> None:
        world = self.world
        if len(world.refs) >= ACTORS:
            return
        start = world.system.start if self.actor is None else self.actor.context.start
        index = k % len(world.classes)
        with suppress(NotRunning, ScriptedError, ExceptionGroup, ActorStopped):
            await start(world.classes[index], world, index, next(world.instances))

    async def send(self, to: ActorRef, script: Script, limit: float) -> None:
        world = self.world
        message = world.message(self.name, to, "send", script)
        done = False
        try:
            with trio.move_on_after(limit) as scope:
                await to.send(message)
                done = True
        except (MailboxFull, NotRunning):
            world.not_sent.add(message.number)
            return
        except BaseException:
            world.not_sent.add(message.number)
            raise
        if done:
            world.sent += 1
            return
        assert scope.cancelled_caught
        world.not_sent.add(message.number)
        if limit >= 20:
            # Virtual time passes only when nothing can run: whoever waits for room now is stuck.
            self._must_be_full(to)

    def _must_be_full(self, to: ActorRef) -> None:
        world = self.world
        actor = world.instance_of(to)
        if actor is None or world.active.get(actor) is not None:
            return
        if actor in world.dead_incarnations:
            return
        capacity = world.plan.kinds[world.kind_of[actor]].capacity
        if capacity is None or world.stashes[actor] < capacity:
            world.note(f"a send to actor {actor} waited for room although there was some")

    async def ask(self, to: ActorRef, script: Script, timeout: float) -> None:
        world = self.world
        message = world.message(self.name, to, "ask", script)
        begun = trio.current_time()
        world.asks_begun += 1
        sent = 1
        try:
            reply = await to.ask(message, timeout)
        except (AskCycle, NotRunning):
            sent = 0
            world.not_sent.add(message.number)
        except (AskTimeout, ActorFailed, ActorStopped):
            pass
        except BaseException:
            # Cancelled: before it was sent, or after.
            sent = 0
            world.sent_perhaps += 1
            raise
        else:
            if reply not in (None, message.number):
                world.note(f"message {message.number} was answered with {reply!r}")
        finally:
            world.sent += sent
            world.asks_ended += 1
            took = trio.current_time() - begun
            if took > timeout + 1e-6:
                world.note(f"an ask with timeout={timeout} took {took} s")


WITH_AN_ACTOR = frozenset(
    [
        "stash",
        "unstash",
        "become",
        "unbecome",
        "stop_self",
        "watch",
        "unwatch",
        "defer",
        "reply",
        "reply_fail",
        "forward",
        "after",
        "every",
        "cancel_timers",
        "spawn_named",
    ]
)


class Scripted(Actor):
    """Performs the scripts it gets, and writes into the world's books what happens."""

    kind: Kind

    def __init__(self, world: World, index: int, instance: int) -> None:
        self.world = world
        self.instance = instance
        self.hand = Hand(world, ("actor", instance), self)
        self.replies: collections.deque[tuple[int, Any]] = collections.deque()
        self.timers: list[Any] = []
        self.decided = 0
        self.in_hand: Msg | None = None
        self.stashed = False
        # Whether the message in hand is no longer an ask that waits for this handler's reply.
        self.passed_on = False
        ref = self.context.ref
        if self.context.incarnation == 1:
            world.refs.append(ref)
            world.instance_by_ref[ref] = instance
            world.kind_of[instance] = index
        world.dead_incarnations.discard(instance)
        world.stashes[instance] = 0
        with world.busy(instance, "__init__"):
            for op in self.kind.init:
                if world.more():
                    self.hand.now(op)
            self.fail_if_due("init")

    def fail_if_due(self, hook: str) -> None:
        if (hook, self.context.incarnation) in self.kind.fails:
            if hook != "stopped":
                self.world.dead_incarnations.add(self.instance)
            raise ScriptedError(hook)

    # -- steps that only an actor can do

    def by_itself(self, op: Op, to: ActorRef | None) -> None:
        context, what = self.context, op[0]
        try:
            if what == "stash":
                message = self.in_hand
                context.stash()
                self.stashed = self.passed_on = True
                self.world.stashes[self.instance] += 1
                if message is not None:
                    self.world.displaced.add(message.number)
            elif what == "unstash":
                context.unstash_all()
                self.world.stashes[self.instance] = int(self.stashed)
            elif what == "become":
                context.become(self.receive_waiting if op[1] else self.receive_plainly)
            elif what == "unbecome":
                context.unbecome()
            elif what == "stop_self":
                context.stop()
            elif what == "watch" and to is not None:
                context.watch(to)
            elif what == "unwatch" and to is not None:
                context.unwatch(to)
            elif what == "defer":
                message = self.in_hand
                reply = context.reply_later()
                self.passed_on = True
                if message is not None:
                    self.replies.append((message.number, reply))
            elif what == "reply" and self.replies:
                number, reply = self.replies.popleft()
                reply.reply(number)
            elif what == "reply_fail" and self.replies:
                self.replies.popleft()[1].fail(ScriptedError("later"))
            elif what == "forward" and to is not None:
                self.forward(to)
            elif what == "after":
                message = Msg(next(self.world.numbers), "timer", 0, "timer", op[2])
                self.timers.append(context.after(op[1], message))
            elif what == "every":
                message = Msg(next(self.world.numbers), "timer", 0, "timer", op[2])
                self.timers.append(context.every(op[1], message))
            elif what == "cancel_timers":
                for timer in self.timers:
                    timer.cancel()
            elif what == "spawn_named":
                self.hand.spawn(op[1], name="namesake")
        except NotRunning:
            pass  # A hook has no message in hand; a helper may outlive its own.

    def forward(self, to: ActorRef) -> None:
        world, message = self.world, self.in_hand
        if message is None or to is self.context.ref:
            return
        try:
            self.context.forward(to)
        except MailboxFull:
            # An ask that could not be taken over stays where it is; a copy that was told was sent.
            if message.how != "ask" or self.passed_on:
                world.sent += 1
            elif world.forwards[message.number]:
                world.sent_perhaps += 1
            return
        except AskCycle:
            return
        self.passed_on = True
        world.sent += message.how != "timer"
        world.forwards[message.number] += 1
        world.displaced.add(message.number)

    # -- handling

    def begin(self, message: Any) -> Script:
        world = self.world
        if self.instance in world.dead_incarnations:
            world.note(f"actor {self.instance} handled a message after it had failed")
        self.stashed = self.passed_on = False
        self.in_hand = None
        if not isinstance(message, Msg):
            return ()
        self.in_hand = message
        if message.how != "timer" and message.number not in world.displaced:
            key = (message.sender, self.instance)
            if world.newest.get(key, 0) >= message.place:
                world.note(
                    f"actor {self.instance} handled number {message.place} of {message.sender} "
                    f"after {world.newest[key]}"
                )
            world.newest[key] = message.place
        return message.script

    def end(self, message: Any, error: BaseException | None) -> int | None:
        world = self.world
        stashed, self.stashed = self.stashed, False
        self.in_hand = None
        number = message.number if isinstance(message, Msg) else 0
        if error is None and stashed:
            return number
        if stashed:
            world.stashes[self.instance] -= 1
        if error is None:
            world.handled += 1
            world.fates[number].append("handled")
        elif isinstance(error, Exception):
            world.failed += 1
            world.fates[number].append("failed")
            world.dead_incarnations.add(self.instance)
        else:
            if isinstance(error, BaseExceptionGroup) and error.split(Exception)[0] is not None:
                world.dead_incarnations.add(self.instance)
            return None
        if number == 0 or message.how == "timer":
            world.sent += 1
        return number

    def receive_plainly(self, message: Any) -> int | None:
        with self.world.busy(self.instance, "a handler"):
            script = self.begin(message)
            try:
                for op in script:
                    if self.world.more():
                        self.hand.now(op)
            except BaseException as error:
                self.end(message, error)
                raise
            return self.end(message, None)

    async def receive_waiting(self, message: Any) -> int | None:
        with self.world.busy(self.instance, "a handler"):
            script = self.begin(message)
            try:
                await self.hand.perform(script)
            except BaseException as error:
                self.end(message, error)
                raise
            return self.end(message, None)

    async def hook(self, name: str, script: Script) -> None:
        with self.world.busy(self.instance, name):
            await self.hand.perform(script)
            self.fail_if_due(name)

    def child_failed(self, child: ActorRef, failure: Failure) -> Any:
        with self.world.busy(self.instance, "child_failed"):
            self.decided += 1
            words = self.kind.directives
            word = words[self.decided % len(words)] if words else "escalate"
            if word == "raise":
                self.world.dead_incarnations.add(self.instance)
                raise ScriptedError("child_failed")
            if word == "restart":
                return Restart()
            if word == "restart later":
                return Restart(after=0.5)
            if word == "stop":
                return Stop()
            if word == "resume":
                self.resumed(failure)
                return Resume()
            self.world.dead_incarnations.add(self.instance)
            return Escalate()

    def resumed(self, failure: Failure | None) -> None:
        while failure is not None:
            actor = self.world.instance_of(failure.ref)
            if actor is not None:
                self.world.dead_incarnations.discard(actor)
            failure = failure.origin


def _actor_class(kind: Kind) -> type[Scripted]:
    """A class of its own for each kind: mailbox and hooks belong to classes."""
    body: dict[str, Any] = {
        "kind": kind,
        "mailbox": Mailbox(kind.capacity, kind.overflow),  # type: ignore[arg-type]
        "shutdown": kind.shutdown,
        "cancel_abandoned": kind.cancel_abandoned,
        "receive": Scripted.receive_waiting if kind.waits else Scripted.receive_plainly,
    }
    if kind.started is not None:

        async def started(self: Scripted, script: Script = kind.started) -> None:
            try:
                await self.hook("started", script)
            except Exception:
                self.world.dead_incarnations.add(self.instance)
                raise

        body["started"] = started
    if kind.stopped is not None:

        async def stopped(self: Scripted, script: Script = kind.stopped) -> None:
            await self.hook("stopped", script)

        body["stopped"] = stopped
    if kind.restarting is not None:

        async def restarting(
            self: Scripted, failure: Failure, script: Script = kind.restarting
        ) -> None:
            await self.hook("restarting", script)

        body["restarting"] = restarting
    return type("Scripted", (Scripted,), body)


class LeftByError(Exception):
    """How a world's body ends that is left by an exception."""


async def _live(world: World) -> None:
    plan = world.plan
    env = Env(plan.schedule, slice_messages=plan.slice_messages)
    before = trio.lowlevel.current_statistics().tasks_living
    try:
        # A cancellation from outside comes while it works, or while it is being left.
        limit = {"cancelled": 3.0, "cancelled twice": 4.0}.get(plan.ends, 1_000.0)
        with trio.move_on_after(limit):
            async with ActorSystem(
                "world",
                env=env,
                max_restarts=plan.max_restarts,
                stop_within=plan.stop_within,
            ) as world.system:
                await _body(world)
    except LeftByError:
        pass
    except BaseExceptionGroup as group:
        rest = group.split((ScriptedError, LeftByError))[1]
        if rest is not None:
            raise
    after = trio.lowlevel.current_statistics().tasks_living
    if after != before:
        world.note(f"{after - before} tasks are left behind")
    _final(world)


async def _body(world: World) -> None:
    plan = world.plan
    outside = Hand(world, "outside")
    for k in plan.top:
        outside.spawn(k)
    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            for number, script in enumerate(plan.tasks):
                nursery.start_soon(Hand(world, ("task", number)).perform, script)
            for _ in range(6):
                world.check_ledger("between")
                await trio.sleep(0.25)
    world.check_ledger("before leaving")
    if plan.ends == "by an error":
        raise LeftByError
    if plan.ends == "cancelled twice":
        with trio.move_on_after(1.0):
            await trio.sleep_forever()


def _final(world: World) -> None:
    world.check_ledger("at the end")
    ledger = world.system.ledger
    dead = world.system.dead_letters
    if ledger.queued or ledger.in_flight:
        world.note(f"at the end something is still queued or in flight: {ledger}")
    if world.system.children:
        world.note(f"at the end these live: {world.system.children}")
    if world.asks_begun != world.asks_ended:
        world.note(f"{world.asks_begun} asks were begun, {world.asks_ended} ended")
    if (ledger.handled, ledger.failed) != (world.handled, world.failed):
        world.note(f"handlers returned {world.handled} and raised {world.failed} times: {ledger}")
    for letter in dead.recent:
        message = letter.message
        if isinstance(message, Msg) and message.how != "timer":
            world.fates[message.number].append(f"dead: {letter.reason.name}")
        else:
            world.sent += 1
    if len(dead.recent) == dead.count and not (
        world.sent <= ledger.sent <= world.sent + world.sent_perhaps
    ):
        world.note(f"sent {world.sent} to {world.sent + world.sent_perhaps} messages: {ledger}")
    for number, message in world.messages.items():
        fates = world.fates.get(number, [])
        most = 1 + world.forwards[number]
        if number in world.not_sent:
            if fates:
                world.note(f"{message} was not sent, and yet {fates}")
        elif message.how == "ask":
            if len(fates) > most:
                world.note(f"{message} ended {len(fates)} times: {fates}")
        elif len(fates) != most and len(dead.recent) == dead.count:
            world.note(f"{message} ended {len(fates)} times, not {most}: {fates}")


def _forget_tasks() -> None:
    """Collect the tasks of a run that was broken off, without a complaint about each."""
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
    finally:
        sys.unraisablehook = before


def run_world(plan: Plan) -> World:
    """Run one world to its end. Raises AssertionError if it hangs or if anything was wrong."""
    world = World(plan)
    runner = trio._core._run
    runner._r.seed(plan.schedule)  # type: ignore[attr-defined]
    logging.getLogger("actors").setLevel(logging.CRITICAL + 1)
    try:
        trio.run(_live, world, clock=virtual_clock())
    except trio.TrioInternalError as error:
        why = str(error.__cause__)
        del error
        _forget_tasks()
        raise AssertionError(why) from None
    finally:
        logging.getLogger("actors").setLevel(logging.NOTSET)
    assert not world.wrong, "\n".join(["the world went wrong:", *world.wrong])
    return world
