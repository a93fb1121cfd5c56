"""Links: two actors fall together, both ways."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorFailed,
    ActorRef,
    DeadLetterReason,
    Directive,
    ExitReason,
    Failure,
    LinkBroken,
    Restart,
    Stop,
)
from tests.actors.kit import Checked, Doer, fail, nap


class Keeper(Doer):
    """Two children that are linked; what happens to them is written down, and decided."""

    def __init__(self, decision: Directive, failures: list[Failure]) -> None:
        self.decision = decision
        self.failures = failures
        self.one = self.context.spawn(Doer, name="one")
        self.two = self.context.spawn(Doer, name="two")

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        self.failures.append(failure)
        return self.decision


async def linked(system: Any, decision: Directive, failures: list[Failure]) -> tuple[Any, Any]:
    keeper = await system.start(Keeper, decision, failures)
    one, two = (await keeper.ask(lambda actor: (actor.one, actor.two)))[:2]
    await one.ask(lambda actor: actor.context.link(two))
    return one, two


@pytest.mark.parametrize("first", ["one", "two"])
async def test_a_failure_of_either_fails_the_other(first: str) -> None:
    failures: list[Failure] = []
    async with Checked("s") as system:
        one, two = await linked(system, Restart(), failures)
        begins, other = (one, two) if first == "one" else (two, one)
        begins.tell(fail)
        await wait_all_tasks_blocked()
        assert [failure.ref for failure in failures] == [begins, other]
        assert isinstance(failures[1].exception, LinkBroken)
        assert failures[1].exception.ref is begins
        assert failures[1].exception.reason is failures[0]
        assert (one.incarnation, two.incarnation) == (2, 2)
        # A link is between incarnations: the next ones are not linked.
        begins.tell(fail)
        await wait_all_tasks_blocked()
        assert len(failures) == 3


async def test_a_stop_decision_ends_both() -> None:
    failures: list[Failure] = []
    async with Checked("s") as system:
        one, two = await linked(system, Stop(), failures)
        one.tell(fail)
        await one.stopped()
        await two.stopped()


async def test_a_normal_end_breaks_no_link_and_a_kill_does(autojump_clock: Any) -> None:
    for kill in (False, True):
        failures: list[Failure] = []
        async with Checked("s") as system:
            one, two = await linked(system, Restart(), failures)
            if kill:
                one.tell(nap(1e6))
                await wait_all_tasks_blocked()
            one.stop()
            await one.stopped()
            await wait_all_tasks_blocked()
            assert two.incarnation == (2 if kill else 1)
            if kill:
                assert failures[0].exception.reason is ExitReason.KILLED  # type: ignore[attr-defined]


async def test_the_handler_of_the_other_is_cancelled() -> None:
    failures: list[Failure] = []
    log: list[str] = []

    async def waits(_: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("cleaned up")

    async with Checked("s") as system:
        one, two = await linked(system, Restart(), failures)
        two.tell(waits)
        two.tell(lambda _: log.append("next"))
        await wait_all_tasks_blocked()
        one.tell(fail)
        await wait_all_tasks_blocked()
        assert log == ["cleaned up", "next"]
        assert [each.reason for each in system.dead_letters.recent] == [DeadLetterReason.CANCELLED]


async def test_linking_to_one_that_is_gone_breaks_at_once() -> None:
    failures: list[Failure] = []
    async with Checked("s") as system:
        keeper = await system.start(Keeper, Restart(), failures)
        one, two = await keeper.ask(lambda actor: (actor.one, actor.two))
        two.stop()
        await two.stopped()
        one.tell(lambda actor: actor.context.link(two))
        await wait_all_tasks_blocked()
        assert failures[0].exception.reason is ExitReason.NO_ACTOR  # type: ignore[attr-defined]
        nobody = system.at("actor://s/nobody")
        one.tell(lambda actor: actor.context.link(nobody))
        await wait_all_tasks_blocked()
        assert failures[1].exception.ref is nobody  # type: ignore[attr-defined]


async def test_unlinking_from_either_side() -> None:
    for side in (0, 1):
        failures: list[Failure] = []
        async with Checked("s") as system:
            pair = await linked(system, Restart(), failures)
            other = pair[1 - side]
            await pair[side].ask(lambda actor, other=other: actor.context.unlink(other))
            pair[0].tell(fail)
            await wait_all_tasks_blocked()
            assert len(failures) == 1


async def test_a_circle_of_links_falls_once() -> None:
    failures: list[Failure] = []

    class Ring(Doer):
        def __init__(self) -> None:
            self.refs = [self.context.spawn(Doer) for _ in range(50)]

        def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
            failures.append(failure)
            return Restart()

    async with Checked("s") as system:
        ring = await system.start(Ring)
        refs = await ring.ask(lambda actor: actor.refs)
        for one, two in zip(refs, refs[1:] + refs[:1], strict=True):
            await one.ask(lambda actor, two=two: actor.context.link(two))
        refs[7].tell(fail)
        await wait_all_tasks_blocked()
        assert len(failures) == 50
        assert {ref.incarnation for ref in refs} == {2}


async def test_a_link_made_in_started_to_one_that_always_fails_does_not_hang() -> None:
    class Hopeless(Doer):
        async def started(self) -> None:
            self.context.link(gone)

    async with Checked("s", max_restarts=None) as system:
        gone = system.spawn(Doer)
        gone.stop()
        with pytest.raises(LinkBroken):
            await system.start(Hopeless)
        ref = system.spawn(Hopeless)
        await trio.sleep(0.01)
        assert ref.incarnation > 2  # type: ignore[attr-defined]


async def test_only_an_actor_can_be_linked_or_watched() -> None:
    async with Checked("s", max_restarts=None) as system:
        ref = system.spawn(Doer)
        for method in ("link", "watch"):
            with pytest.raises(ActorFailed, match=f"{method}.. takes the ref of one actor"):
                await ref.ask(lambda actor, method=method: getattr(actor.context, method)("me"))
        ref = system.spawn(Doer)
        assert await ref.ask(lambda actor: actor.context.link(actor.context.ref)) is None
        assert ref.incarnation == 1  # type: ignore[attr-defined]
