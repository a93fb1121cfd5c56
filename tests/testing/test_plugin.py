"""The pytest plugin, in real runs of pytest."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a test file, run pytest on it in a process of its own, and return the result.

    pytest finds the plugin as it does when the distribution is installed: by its metadata.
    """
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    installed = pytester.mkdir("installed")
    metadata = installed / f"{project['name']}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    plugins = project["entry-points"]["pytest11"]
    (metadata / "entry_points.txt").write_text(
        "\n".join(["[pytest11]", *(f"{name} = {module}" for name, module in plugins.items())])
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(repository), str(installed)]))
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)

    def run(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error")
        pytester.makepyfile(test_it=source)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q", *arguments, timeout=50)

    return run


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

        class Fails(Actor):
            lives = 0

            def __init__(self):
                Fails.lives += 1

            def receive(self, message):
                if message == "fail":
                    raise ValueError(message)

        @pytest.mark.system(max_restarts=None)
        async def test_options(system):
            ref = system.spawn(Fails)
            for _ in range(100):
                ref.tell("fail")
            await ref.ask("alive?")
            assert Fails.lives == 101

        @pytest.mark.system(0)
        async def test_no_option(system):
            pass
        """
    )
    result.assert_outcomes(passed=2, failed=1)
    assert "takes named options for ActorSystem, not (0,)" in result.stdout.str()


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
    # The test's own task too, by whatever name the plugin gives it.
    assert "test_hangs" in text.partition("every task waits")[2].partition("short test summary")[0]


def test_a_deadlock_outside_of_the_test_function_is_found_as_well(run: Any) -> None:
    result = run(
        """
        import hypothesis, pytest, trio
        from hypothesis import strategies

        @pytest.fixture
        async def stuck():
            yield
            await trio.Event().wait()

        async def test_fixture(stuck, virtual_clock):
            pass

        class TestMethods:
            async def test_method(self, virtual_clock):
                await trio.Event().wait()

        async def test_nobody_moves_time(manual_clock):
            await trio.sleep(1)

        @hypothesis.settings(
            max_examples=2, database=None, suppress_health_check=list(hypothesis.HealthCheck)
        )
        @hypothesis.given(number=strategies.integers(0, 1))
        async def test_example(number, virtual_clock):
            await trio.Event().wait()
        """
    )
    result.assert_outcomes(failed=4)
    summary = [line for line in result.stdout.lines if line.startswith("FAILED")]
    assert len(summary) == 4
    assert all("Deadlock" in line for line in summary), summary


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
    source = """
        import sys

        def test_nothing():
            assert "actors" not in sys.modules

        async def test_clock(virtual_clock):
            pass
        """
    result = run(source, "-p", "no:trouper")
    result.assert_outcomes(passed=1, errors=1)
    assert "fixture 'virtual_clock' not found" in result.stdout.str()
    assert run(source).parseoutcomes() == {"passed": 1, "failed": 1}
