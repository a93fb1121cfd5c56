"""The pytest plugin: it installs by itself with the distribution.

Fixtures (with pytest-trio, or another runner that takes clocks from fixtures):
    system: an ActorSystem "test", entered. When the test has ended it is left, and the test fails
        if a message is not accounted for, or a task is left over. Options:
        `@pytest.mark.system(max_restarts=None)`.
    virtual_clock, manual_clock: a VirtualClock that jumps, or is moved by `advance`. pytest-trio
        takes a clock from the test's own arguments only: name it there.

Under a VirtualClock a test that can never go on fails at once (`Deadlock`). A failed test that used
`system` says its seed; `--trouper-seed N` runs it with that one again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import trio

    from actors.system import ActorSystem
    from actors.testing.clock import VirtualClock


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--trouper-seed`."""
    parser.getgroup("trouper").addoption(
        "--trouper-seed", type=int, default=None, help="the seed of the `system` fixture's Env"
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker."""
    config.addinivalue_line(
        "markers", "system(**options): options for the ActorSystem of the `system` fixture"
    )


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock that jumps to the next deadline when nothing can run."""
    from actors.testing.clock import VirtualClock

    return VirtualClock()


@pytest.fixture
def manual_clock() -> VirtualClock:
    """A clock that only `await manual_clock.advance(seconds)` moves."""
    from actors.testing.clock import VirtualClock

    return VirtualClock(auto=False)


@pytest.fixture
async def system(request: pytest.FixtureRequest) -> AsyncIterator[ActorSystem]:
    """An ActorSystem that must be left as it was found; see the module."""
    from actors.env import Env
    from actors.system import ActorSystem

    marker = request.node.get_closest_marker("system")
    if marker is not None and marker.args:
        raise TypeError(
            f"@pytest.mark.system takes named options for ActorSystem, not {marker.args!r}: "
            "write @pytest.mark.system(max_restarts=None)"
        )
    options: dict[str, Any] = dict(marker.kwargs) if marker is not None else {}
    options.setdefault("env", Env(request.config.getoption("--trouper-seed")))
    seed = options["env"].seed
    request.node.user_properties.append(("trouper-seed", seed))
    before = _tasks()
    made = ActorSystem("test", **options)
    async with made:
        yield made
    ledger = made.ledger
    assert ledger.missing == 0, f"messages are missing: {ledger}"
    assert ledger.queued == 0, f"messages are still queued: {ledger}"
    assert ledger.in_flight == 0, f"messages are still being handled: {ledger}"
    left = [task.name for task in _tasks() if task not in before]
    assert not left, f"tasks are left over from the test: {', '.join(left)}"


def _tasks() -> list[trio.lowlevel.Task]:
    """All tasks of this run."""
    import trio

    todo = [trio.lowlevel.current_root_task()]
    found = []
    while todo:
        task = todo.pop()
        if task is not None:
            found.append(task)
            todo += [each for nursery in task.child_nurseries for each in nursery.child_tasks]
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run each async test under the oracle; it does nothing without a VirtualClock."""
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and inspect.iscoroutinefunction(item.obj)
            and {"virtual_clock", "manual_clock"} & set(item.fixturenames)
        ):
            item.obj = _guarded(item.obj)


def _guarded(test: Any) -> Any:
    @functools.wraps(test)
    async def run(**fixtures: Any) -> None:
        from actors.testing.deadlock import guard

        await guard(functools.partial(test, **fixtures))

    return run


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Say the seed of a test that failed, and how to run it with that seed again."""
    outcome: Any = yield
    report = outcome.get_result()
    seeds = [value for name, value in item.user_properties if name == "trouper-seed"]
    if report.failed and seeds:
        report.sections.append(
            (
                "trouper",
                f"seed {seeds[-1]}; again by: pytest --trouper-seed {seeds[-1]} {item.nodeid!r}",
            )
        )
