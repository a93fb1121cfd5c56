"""What the node runs that is drained while others wait for it."""

from __future__ import annotations

import trio

from actors import Actor, ActorRef, ActorSystem, Request, message


@message(name="draining.Pass")
class Pass(Request[int]):
    """Ask a Gate whether one may go on; answered when it is open."""

    number: int


@message(name="draining.Work")
class Work(Request[int]):
    """Ask a Worker for the number, once the gate lets it through."""

    number: int
    gate: ActorRef


class Worker(Actor):
    """Works at one thing at a time. That needs the other node: its gate is there."""

    shutdown = 60.0

    async def receive(self, message: Work) -> int:
        return await message.gate.ask(Pass(message.number), timeout=None)


async def main(system: ActorSystem, *, task_status: trio.TaskStatus[None]) -> None:
    await system.start(Worker, name="worker")
    task_status.started()
    try:
        await trio.sleep_forever()
    finally:
        print("cancelled", flush=True)
