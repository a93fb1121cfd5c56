"""One run: clients send numbers, and processes get signals meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import perf_counter

import attrs
import trio

from actors import ActorError, Env
from benchmarks.soak_processes.audit import Audit, audit
from benchmarks.soak_processes.cluster import Cluster, Member, cluster
from benchmarks.soak_processes.engine import FREEZE, KILL, Engine, engine
from benchmarks.soak_processes.journals import Failed, PassOn, Write, Written, failed
from transports.cli.exit_codes import ExitCode

#: Seconds of an ask; and until who was killed acknowledges again.
PATIENCE = 30.0
RECOVER_WITHIN = 90.0
#: Seconds of a SIGSTOP: "pause", which nobody may notice, and "freeze", after which it was lost.
SHORT, LONG = (0.05, 0.8), 4.0
#: Faults that end a process.
SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM}
#: One in so many handlers fails; one in so many clients asks by way of another process.
FAIL_EVERY, RELAY_EVERY = 500, 8
#: Outcomes of a number.
UNKNOWN, ACKNOWLEDGED, REFUSED = range(3)


@attrs.frozen(kw_only=True)
class Plan:
    """How much is to be done, and how much is to go wrong.

    kills: SIGKILLs. messages: acknowledged ones, at least. clients: of each process. engine:
    "nats", or None: by which the processes meet. servers: of it.
    """

    kills: int
    messages: int
    seed: int
    workers: int = 2
    nodes: int = 2
    clients: int = 64
    engine: str | None = None
    servers: int = 1

    def faults(self) -> list[str]:
        """For each SIGKILL the name "kill", and so on, in the order in which they come."""
        some = -(-self.kills // 20)
        faults = ["kill"] * self.kills + ["terminate"] * some + ["pause", "freeze"] * some
        Env(self.seed).random("faults").shuffle(faults)
        return faults

    def server_faults(self) -> list[str]:
        """The same of what befalls a server meanwhile."""
        if self.engine is None:
            return []
        faults = [KILL] * max(1, self.kills // 5) + [FREEZE] * max(1, self.kills // 20)
        Env(self.seed).random("server faults").shuffle(faults)
        return faults


@attrs.define
class Report:
    """What happened.

    sent: messages. kinds: what came of those without an acknowledgement. faults: by name. recovery:
    by the kind of process, seconds from each SIGKILL to the acknowledgement of the first message
    that the replacement handled; by the kind of fault of a server, from that to the acknowledgement
    of what each process was sent behind it. exits: of the nodes: exit codes. missing: messages that
    are not accounted for.
    """

    plan: Plan
    outcomes: bytearray = attrs.field(factory=bytearray, repr=False)
    acknowledged: int = 0
    kinds: Counter[str] = attrs.field(factory=Counter)
    faults: Counter[str] = attrs.field(factory=Counter)
    recovery: dict[str, array[float]] = attrs.field(factory=dict, repr=False)
    exits: Counter[int] = attrs.field(factory=Counter)
    missing: int = 0
    seconds: float = 0.0
    errors: list[str] = attrs.field(factory=list)
    audit: Audit | None = None

    @property
    def sent(self) -> int:
        """Messages."""
        return len(self.outcomes)

    @property
    def problems(self) -> list[str]:
        """What is wrong, in words. There is nothing."""
        assert self.audit is not None
        problems = self.errors + self.audit.problems
        if self.missing:
            problems.append(f"{self.missing} messages are missing in the ledger")
        # Who is started while the engine is away says so, and ends.
        usual = (0, -9) if self.plan.engine is None else (0, -9, ExitCode.TAKEN)
        if strange := {code: n for code, n in self.exits.items() if code not in usual}:
            problems.append(f"nodes have ended by other exit codes than 0: {strange}")
        return problems

    def numbers(self, outcome: int) -> list[int]:
        """Those with that outcome."""
        return [number for number, each in enumerate(self.outcomes) if each == outcome]


async def run(
    folder: Path, plan: Plan, say: Callable[[Report], None] = lambda report: None
) -> Report:
    """Run it, and audit the journals. say: is told how far it is, again and again."""
    report = Report(plan)
    start = perf_counter()
    try:
        async with contextlib.AsyncExitStack() as stack:
            servers = None
            if plan.engine is not None:
                servers = await stack.enter_async_context(engine(plan.servers))
            made = await stack.enter_async_context(
                cluster(folder, plan.workers, plan.nodes, servers)
            )
            await Run(made, report, say, servers).run()
        report.missing = made.system.ledger.missing
        report.exits = made.exits
    except* TimeoutError as group:
        report.errors += [str(error) for error in flat(group)]
    # All processes have ended.
    numbers = report.numbers
    report.audit = audit(folder, report.sent, numbers(ACKNOWLEDGED), numbers(REFUSED))
    report.seconds = perf_counter() - start
    return report


def flat(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The exceptions in a group."""
    return [
        each
        for error in group.exceptions
        for each in (flat(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


class Run:
    """The clients, and who sends signals meanwhile."""

    def __init__(
        self,
        made: Cluster,
        report: Report,
        say: Callable[[Report], None],
        engine: Engine | None = None,
    ) -> None:
        self.cluster = made
        self.engine = engine
        # Who has not acknowledged anything since a server's fault: its kind, and when it was.
        self.cut_off: dict[Member, tuple[str, float]] = {}
        self.report = report
        self.plan = report.plan
        self.say = say
        self.is_over = False
        self.progress = trio.Event()

    async def run(self) -> None:
        """Until there were as many faults and acknowledgements as planned, and all have recovered.

        Raises:
            TimeoutError: a process did not recover.
        """
        async with trio.open_nursery() as clients:
            for member in self.cluster.members:
                for number in range(self.plan.clients):
                    clients.start_soon(self.client, member, number)
            try:
                async with trio.open_nursery() as nursery:
                    for member in self.cluster.members:
                        await member.up(RECOVER_WITHIN)
                    nursery.start_soon(self.disturb_servers)
                    await self.disturb(nursery)
                for member in self.cluster.members:
                    await member.up(RECOVER_WITHIN)
                await self.until(self.plan.messages)
            except* TimeoutError:
                clients.cancel_scope.cancel()
                raise
            self.is_over = True

    # -- clients

    async def client(self, member: Member, which: int) -> None:
        """Ask one process, one number after the other, each once."""
        chance = Env(self.plan.seed).random("client", member.name, which)
        report, failures = self.report, 0
        while not self.is_over:
            number = report.sent
            report.outcomes.append(UNKNOWN)
            begun = perf_counter()
            reply = await self.ask(member, which, number, chance)
            if isinstance(reply, Written):
                if reply.number != number:
                    report.errors.append(f"the reply to {number} was {reply}")
                report.outcomes[number] = ACKNOWLEDGED
                report.acknowledged += 1
                failures = 0
                self.acknowledged(member, reply.pid, begun)
                continue
            report.kinds[f"{'refused' if reply.refused else 'unknown'}: {reply.kind}"] += 1
            if reply.refused:
                report.outcomes[number] = REFUSED
            failures += 1
            await trio.sleep(chance.uniform(0.01, 0.02) * 2 ** min(failures, 4))

    async def ask(
        self, member: Member, which: int, number: int, chance: Random
    ) -> Written | Failed:
        """One ask, maybe by way of another process."""
        fail = ""
        if chance.random() * FAIL_EVERY < 1:
            fail = chance.choice(("before", "behind"))
        write, system = Write(number, fail), self.cluster.system
        try:
            if which % RELAY_EVERY == 0 and member.neighbours:
                relay = system.at(chance.choice(member.neighbours).address("relay"))
                request = PassOn(member.address("journal"), write, PATIENCE / 2)
                reply: Written | Failed = await relay.ask(request, timeout=PATIENCE)
                return reply
            return await system.at(member.address("journal")).ask(write, timeout=PATIENCE)
        except ActorError as error:
            return failed(error)

    def acknowledged(self, member: Member, pid: int, begun: float) -> None:
        """Note it, and what it says of its process."""
        fault, since = self.cut_off.get(member, ("", begun))
        if begun > since:
            del self.cut_off[member]
            seconds = perf_counter() - since
            self.report.recovery.setdefault(fault, array("d")).append(seconds)
            member.change()
        recovered = member.acknowledged(pid, begun)
        if recovered is not None and member.fault == "kill":
            self.report.recovery.setdefault(member.kind, array("d")).append(recovered)
        if self.report.acknowledged % 100 == 0 or recovered is not None:
            progress, self.progress = self.progress, trio.Event()
            progress.set()
            self.say(self.report)

    async def until(self, acknowledged: float) -> None:
        """Return when there are so many acknowledgements."""
        while self.report.acknowledged < acknowledged:
            await self.progress.wait()

    # -- signals

    async def disturb(self, nursery: trio.Nursery) -> None:
        """One fault after the other, spread over the messages. The last one while there are some.

        Raises:
            TimeoutError: a process did not recover from the fault before.
        """
        faults = self.plan.faults()
        for place, fault in enumerate(faults):
            chance = Env(self.plan.seed).random("fault", place)
            await self.until(self.plan.messages * place / len(faults))
            hit = False
            while not hit:
                member = chance.choice(self.cluster.members)
                await member.up(RECOVER_WITHIN)
                await trio.sleep(chance.uniform(0, 0.05))
                hit = member.is_up and self.hit(member, fault, chance, nursery)
            self.report.faults[fault] += 1

    def hit(self, member: Member, fault: str, chance: Random, nursery: trio.Nursery) -> bool:
        """Whether there was a process for the fault: it may be restarted just now by itself."""
        pid = member.pid
        seconds = 0.0
        try:
            if fault in SIGNALS:
                os.kill(pid, SIGNALS[fault])
            else:
                os.kill(pid, signal.SIGSTOP)
                seconds = chance.uniform(*SHORT) if fault == "pause" else LONG
                nursery.start_soon(self.go_on, pid, seconds)
        except ProcessLookupError:
            member.disturbed("")
            return False
        member.disturbed(fault, gone=pid if fault in SIGNALS else 0, seconds=seconds)
        # That it does not acknowledge is no server's fault alone.
        self.cut_off.pop(member, None)
        return True

    async def go_on(self, pid: int, seconds: float) -> None:
        """SIGCONT after so many seconds, unless it was killed meanwhile, as a silent worker is."""
        try:
            await trio.sleep(seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    # -- servers

    async def disturb_servers(self) -> None:
        """One fault after the other, spread over those of the processes.

        Raises:
            TimeoutError: a process has acknowledged nothing since.
        """
        faults, others = self.plan.server_faults(), len(self.plan.faults())
        for place, fault in enumerate(faults):
            assert self.engine is not None
            chance = Env(self.plan.seed).random("server fault", place)
            # Behind one another they would leave a cluster without a leader all the time.
            while self.report.faults.total() - place < others * place / len(faults):
                await self.progress.wait()
            await trio.sleep(chance.uniform(0, 0.5))
            server, since = self.engine.hit(fault, chance)
            up = [member for member in self.cluster.members if member.is_up]
            self.cut_off = dict.fromkeys(up, (fault, since))
            await self.engine.mend(server, fault, chance)
            self.report.faults[fault] += 1
            for member in up:
                await self.heard_of(member)

    async def heard_of(self, member: Member) -> None:
        """Return when it has acknowledged something since a server's fault, or was hit itself."""
        with trio.move_on_after(RECOVER_WITHIN):
            while member in self.cut_off:
                await member.changed.wait()
            return
        raise TimeoutError(f"{member.name} did not answer within {RECOVER_WITHIN:g} s of a fault")
