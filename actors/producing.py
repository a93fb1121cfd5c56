"""The producing side of a streaming reply: the turn of an actor sends what its handler returned."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from actors.ask import STREAMED, Ask
from actors.errors import NotAskable, NotStreamable, brief
from actors.handling import put_back
from actors.sinks import END, Sink
from actors.waiting import Raised

if TYPE_CHECKING:
    from actors.cell import Cell

Generator = AsyncGenerator[Any, None]


def sink_of(ask: Ask) -> Sink | None:
    """Where the items of a stream are to go; None: `ask` was asked."""
    waits: Any = ask.waits
    return waits if isinstance(waits, Sink) else None


async def produce(cell: Cell, ask: Ask, generator: Generator) -> None:
    """Send the items of what a handler returned to where `ask` came from, and close it."""
    sink = sink_of(ask)
    if sink is None:
        refuse_ask(cell, ask)
        return
    if sink.gone:
        return
    ask.where = STREAMED
    step: Awaitable[Any] = generator.__anext__()
    try:
        while True:
            try:
                item = await step
            except StopAsyncIteration:
                break
            try:
                if not await sink.put(item):
                    break
            except BaseException as error:
                # The wait is at the `yield`: so what ends it is raised there. It may be for a
                # scope of the generator's own, which then goes on.
                step = generator.athrow(error)
            else:
                step = generator.__anext__()
    finally:
        try:
            await generator.aclose()
        except* GeneratorExit:
            # It came out of a nursery that was open at the `yield`, and so in a group.
            pass
    ask.answer(END)


def produce_next(cell: Cell, ask: Ask, generator: Generator) -> None:
    """As `produce`, for what a plain handler returned: on the actor's next turn, which can wait."""
    if sink_of(ask) is None:
        refuse_ask(cell, ask)
        return
    put_back(cell)
    cell._rare_part().begun = (ask, generator)
    cell._plain = None


def refuse_ask(cell: Cell, ask: Ask) -> None:
    """Somebody asked where the handler answers with a stream. That is no failure of the actor."""
    what = f"its handler answers {brief(ask.message, 80)} with a stream"
    ask.answer(Raised(NotAskable(cell, f"{what}; use `async for item in ref.stream(...)`")))


def begun(cell: Cell, message: Any) -> Callable[[Any], Awaitable[Any]] | None:
    """The handler of a message that a plain handler has answered with a stream already."""
    rare = cell._rare
    if rare is None or rare.begun is None:
        return None
    (ask, generator), rare.begun = rare.begun, None
    if ask is not message:
        return None  # It was dropped from the mailbox meanwhile.

    async def receive(_: object) -> Generator:
        return generator

    return receive


def refuse_stream(message: Any, cell: Cell, why: str) -> bool:
    """If the message is the request of a stream, answer that this can be none."""
    if isinstance(message, Ask) and sink_of(message) is not None:
        return message.answer(Raised(NotStreamable(cell, why)))
    return False
