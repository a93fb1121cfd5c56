"""Crashes on purpose."""

import logging

import trio

from actors import Actor, ActorFailed, Env


class PlannedCrash(Exception):
    """An actor of the bank crashes because chaos was asked for."""


class Chaos:
    """Crashes a share of all steps, at random; every other step also waits a moment first.

    pause: seconds that a step takes at most, as on a slow disk: so that whoever kills the process
    from outside finds it in the middle of one.
    """

    def __init__(self, env: Env, rate: float = 0.0, pause: float = 0.0) -> None:
        self.env = env
        self.rate = rate
        self.pause = pause
        self.steps = 0

    async def strike(self, actor: Actor) -> None:
        """Return, or raise PlannedCrash. A checkpoint, every other time."""
        self.steps += 1
        if self.steps % 2:
            await trio.lowlevel.checkpoint()
        if self.pause:
            await trio.sleep(self.env.random("pause", self.steps).uniform(0, self.pause))
        if self.rate and self.env.random("chaos", self.steps).random() < self.rate:
            raise PlannedCrash(str(actor.context.ref))


def is_no_planned_crash(record: logging.LogRecord) -> bool:
    """Keep what was asked for, also where it came to the teller by an ask, out of the log."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error.cause if isinstance(error, ActorFailed) else error, PlannedCrash)
