"""`Env`: time, chance and identity from one place, the same again from the same seed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import trio

from actors import ActorSystem, Env
from tests.actors.kit import Checked, Doer


def test_the_same_seed_and_key_give_the_same_chance() -> None:
    assert Env(7).random("chaos", 3).random() == Env(7).random("chaos", 3).random()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("ab",)),
        (("a", "b"), ("b", "a")),
        (("1",), (1,)),
        (("a", 1), ("a", 2)),
        (("a',", "b"), ("a", "',b")),
        ((), ("",)),
    ],
)
def test_different_keys_give_different_chance(one: Any, other: Any) -> None:
    env = Env(7)
    assert env.random(*one).getrandbits(64) != env.random(*other).getrandbits(64)


def test_different_seeds_give_different_chance() -> None:
    drawn = {Env(seed).random("key").getrandbits(64) for seed in range(100)}
    assert len(drawn) == 100


def test_drawing_for_one_key_does_not_change_what_another_key_draws() -> None:
    env = Env(7)
    expected = Env(7).random("b").random()
    for _ in range(10):
        env.random("a").random()
    env.next_id()
    assert env.random("b").random() == expected


def test_chance_is_the_same_in_another_process_whatever_its_hash_seed() -> None:
    program = "from actors import Env; print(Env(7).random('chaos', 'indexer-1', 3).random())"
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert printed == {f"{Env(7).random('chaos', 'indexer-1', 3).random()}\n"}


def test_a_seed_that_was_drawn_can_be_used_again() -> None:
    drawn = Env()
    again = Env(drawn.seed)
    assert drawn.random("x").random() == again.random("x").random()
    assert Env().seed != Env().seed


def test_identities_count_from_one_in_each_env() -> None:
    one, other = Env(7), Env(7)
    assert [one.next_id() for _ in range(3)] == [1, 2, 3]
    assert other.next_id() == 1


async def test_now_is_trios_clock(autojump_clock: Any) -> None:
    env = Env(7)
    before = env.now()
    await trio.sleep(3)
    assert env.now() - before == pytest.approx(3)
    assert env.clock()() == env.now() == trio.current_time()


def test_now_outside_of_trio_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        Env(7).now()


async def test_a_system_uses_the_env_that_it_is_given() -> None:
    env = Env(7)
    async with Checked("s", env=env) as system:
        assert system.env is env
        assert system.spawn(Doer).name == "doer~1"
        assert env.next_id() == 2
        assert await system.spawn(Doer).ask(lambda a: a.context.system.env.seed) == 7


def test_an_env_must_be_one() -> None:
    with pytest.raises(TypeError, match="env is an Env"):
        ActorSystem("s", env=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("messages", [0, -1])
def test_a_slice_has_at_least_one_message(messages: int) -> None:
    with pytest.raises(ValueError, match="at least 1 message"):
        Env(7, slice_messages=messages)
