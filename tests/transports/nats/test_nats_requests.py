"""Requests that wait: their deadlines and ends, without a server, in virtual time."""

import outcome
import pytest
import trio

from transports.nats.errors import NoResponders, OutcomeUnknown, RequestTimeout
from transports.nats.protocol import Message
from transports.nats.requests import MOST_ENDED, Requests


async def ask(requests: Requests, timeout: float, ended: list[object], name: str = "") -> None:
    token = requests.new_token()
    requests.add(token, f"s.{name or token}", b"command", timeout)
    result = await outcome.acapture(requests.wait, token)
    ended.append((name or token, trio.current_time(), result))


async def test_each_request_ends_at_its_own_deadline(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    requests = Requests("inbox")
    nursery.start_soon(requests.run)
    ended: list[tuple[str, float, outcome.Error]] = []
    start = trio.current_time()
    async with trio.open_nursery() as asking:
        for timeout in (5.0, 1.0, 3.0, 0.0, 2.0):
            asking.start_soon(ask, requests, timeout, ended, f"{timeout}")
    assert [(name, at - start) for name, at, _ in ended] == [
        (f"{each}", each) for each in (0.0, 1.0, 2.0, 3.0, 5.0)
    ]
    for name, _, result in ended:
        assert isinstance(result.error, RequestTimeout)
        assert (result.error.subject, result.error.timeout) == (f"s.{name}", float(name))
    assert len(requests) == 0
    nursery.cancel_scope.cancel()


async def test_deadlines_of_requests_that_have_ended_do_not_pile_up() -> None:
    requests = Requests("inbox")
    for _ in range(3 * MOST_ENDED):
        token = requests.new_token()
        requests.add(token, "s", b"command", 1000.0)
        requests.remove(token)
        assert len(requests._deadlines) <= MOST_ENDED + 3


async def test_replies_find_their_request_and_others_are_ignored(nursery: trio.Nursery) -> None:
    requests = Requests("inbox")
    ended: list[tuple[str, float, outcome.Outcome[Message]]] = []
    async with trio.open_nursery() as asking:
        for _ in range(3):
            asking.start_soon(ask, requests, float("inf"), ended)
        while len(requests) < 3:
            await trio.lowlevel.checkpoint()
        requests.answered(Message("inbox.4", b""))
        requests.answered(Message("inbox.", b""))
        requests.answered(Message("inbox.2", b"two"))
        requests.answered(Message("inbox.2", b"again"))
        requests.answered(Message("inbox.1", b"", status=503))
        assert requests.fail(lambda subject: OutcomeUnknown(subject, "why")) == 1
    results = {token: result for token, _, result in ended}
    assert results["2"].unwrap().data == b"two"
    with pytest.raises(NoResponders, match="s.1"):
        results["1"].unwrap()
    with pytest.raises(OutcomeUnknown, match="s.3"):
        results["3"].unwrap()


async def test_it_is_told_when_the_requests_there_were_have_ended() -> None:
    requests = Requests("inbox")
    ended: list[object] = []
    told: list[str] = []
    requests.when_answered(lambda: told.append("none"), lambda call: True)
    assert told == ["none"]
    async with trio.open_nursery() as asking:
        asking.start_soon(ask, requests, float("inf"), ended)
        while not len(requests):
            await trio.lowlevel.checkpoint()
        requests.when_answered(lambda: told.append("one"), lambda call: True)
        asking.start_soon(ask, requests, float("inf"), ended)
        while len(requests) < 2:
            await trio.lowlevel.checkpoint()
        assert told == ["none"]
        requests.answered(Message("inbox.1", b""))
        assert told == ["none", "one"]
        requests.answered(Message("inbox.2", b""))
