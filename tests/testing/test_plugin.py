"""The pytest plugin, in real runs of pytest."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester, repository: Any) -> Any:
    """Write a test file, run pytest on it in a process of its own, and return the result."""

    def run(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makeini(
            "[pytest]\ntrio_mode = true\nfilterwarnings = error\npythonpath = " + str(repository)
        )
        pytester.makepyfile(test_it=source)
        options = ["-p", "no:cacheprovider", "-q", *arguments]
        if not _is_installed():
            options += ["-p", "actors.testing.plugin"]
        return pytester.runpytest_subprocess(*options, timeout=50)

    return run


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(each.name == "trouper" for each in entry_points(group="pytest11"))


def test_a_system_is_there_and_is_checked(run: Any) -> None:
    result = run(
        """
        import pytest
        from actors import Actor

        class Echo(Actor):
            def receive(self, message):
                return message

        async def test_it_works(system):
            assert await system.spawn(Echo).ask(1) == 1

        @pytest.mark.system(max_restarts=0, stop_within=1)
        async def test_options(system):
            assert system._stop_within == 1
        """
    )
    result.assert_outcomes(passed=2)


def test_a_lost_message_and_a_task_left_over_fail_the_test(run: Any) -> None:
    result = run(
        """
        import trio
        from actors import Actor

        async def test_lost(system):
            system._counters.taken += 1

        async def test_left_over(system):
            trio.lowlevel.spawn_system_task(trio.sleep, 3)
        """
    )
    text = result.stdout.str()
    assert "messages are missing" in text
    assert "tasks are left over from the test: trio.sleep" in text
    assert result.ret == 1


def test_a_failure_says_its_seed_and_how_to_repeat_it(run: Any) -> None:
    source = """
        async def test_fails(system):
            raise AssertionError(f"drew {system.env.random('x').random()}")
        """
    first = run(source)
    seed = re.search(
        r"seed (\d+); again by: pytest --trouper-seed \1 'test_it.py::test_fails'",
        first.stdout.str(),
    )
    assert seed is not None, first.stdout.str()
    drew = re.search(r"drew (0\.\d+)", first.stdout.str())
    assert drew is not None
    again = run(source, "--trouper-seed", seed[1])
    assert f"drew {drew[1]}" in again.stdout.str()


def test_a_deadlock_fails_the_test_at_once(run: Any) -> None:
    result = run(
        """
        import trio
        from actors import Actor

        class Waits(Actor):
            async def receive(self, message):
                await trio.sleep_forever()

        async def test_hangs(system, virtual_clock):
            await system.spawn(Waits, name="waits").ask("x", timeout=None)
        """
    )
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "every task waits" in text
    assert "actor://test/waits (incarnation 1, running), handling 'x', waits in receive" in text


def test_clocks(run: Any) -> None:
    result = run(
        """
        import trio

        async def test_jumps(virtual_clock):
            await trio.sleep(3600)
            assert trio.current_time() == 3600

        async def test_by_hand(manual_clock, nursery):
            done = trio.Event()

            async def later():
                await trio.sleep(10)
                done.set()

            nursery.start_soon(later)
            await manual_clock.advance(9)
            assert not done.is_set()
            await manual_clock.advance(1)
            assert done.is_set()

        def test_without_trio():
            assert True
        """
    )
    result.assert_outcomes(passed=3)


def test_it_can_be_left_out(run: Any) -> None:
    result = run("def test_nothing():\n    pass", "-p", "no:trouper")
    result.assert_outcomes(passed=1)
