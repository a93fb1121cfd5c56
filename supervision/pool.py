"""Identical workers behind one ref."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from actors import (
    Actor,
    ActorStopped,
    AskCycle,
    DeadLetterReason,
    ExitReason,
    Request,
    message,
)
from actors.ask import Ask
from actors.cell import Cell
from actors.handling import forward_when_room, put_back
from actors.producing import refuse_stream
from actors.rare import Terms
from actors.stopping import stop
from supervision.base import BaseSupervisor
from supervision.child import ChildSpec, child
from supervision.entry import Entry
from supervision.kinds import Exit
from supervision.routing import ALL, Broadcast, RoundRobin, Routing
from supervision.strategies import OneForOne, Strategy
from supervision.views import CountChildren, WhichChildren


@message
class Resize(Request[int]):
    """Ask a pool to have `size` workers; the reply is how many it had.

    Workers that are too many finish what they have been given.
    """

    size: int


class _WorkerSpec(ChildSpec):
    """A worker's unstarted messages go back to its pool, and so to its successors."""

    @property
    def terms(self) -> Terms:
        return Terms(
            None if isinstance(self.shutdown, str) else self.shutdown,
            self.shutdown == "brutal",
            self.start_within,
            returns_unhandled=True,
        )


class Pool(BaseSupervisor):
    """N workers of one class behind one ref: what is sent to the pool, one of them handles.

        pool = system.spawn(functools.partial(Pool, size=8, routing=LeastLoaded()), Indexer, path)
        pool.tell(Job(1))
        answer = await pool.ask(Job(2))

    worker, args: what `spawn` takes. size: how many. routing: who gets a message: RoundRobin(),
    LeastLoaded(), ConsistentHash(key) or Broadcast(). strategy: OneForOne(...). shutdown,
    start_within: of each worker, as for `child(...)`.

    A worker that fails is restarted, and keeps its mailbox; one that has stopped for whatever
    reason is replaced. Either counts as a restart. What a stopped one had not started goes to its
    successors, before what the pool has queued: what another worker has already may overtake it.
    A worker that has no room makes the pool wait, and then those who send to it; with Broadcast,
    the slowest one does. In the ledger a message to a pool counts twice, once at the pool and once
    at the worker.

    Raises:
        ValueError, TypeError: an argument is none of what is said above.
    """

    strategy: Strategy = OneForOne()
    auto_shutdown: ClassVar[Any] = "never"

    def __init__(
        self,
        worker: Callable[..., Actor],
        *args: Any,
        size: int = 4,
        routing: Routing | None = None,
        strategy: Strategy | None = None,
        shutdown: float | None = None,
        start_within: float | None = None,
    ) -> None:
        if routing is not None and not isinstance(routing, Routing):
            raise TypeError(f"routing is RoundRobin(), LeastLoaded(), ..., not {routing!r}")
        if strategy is not None:
            self.strategy = strategy
        if not isinstance(self.strategy, OneForOne):
            raise TypeError(f"the strategy of a pool is OneForOne(...), not {self.strategy!r}")
        plain = child(worker, *args, shutdown=shutdown, start_within=start_within)
        # What a broadcast left at one worker all the others have already.
        make = ChildSpec if isinstance(routing, Broadcast) else _WorkerSpec
        self._spec = make(
            plain.recipe, plain.args, None, plain.kind, False, plain.shutdown, plain.start_within
        )
        self._size = _check_size(size)
        self._routing = routing if routing is not None else RoundRobin()
        self._workers: list[Entry] = []
        # Who still has to get a message that was put back.
        self._left: tuple[Any, list[Entry]] | None = None

    def _first_children(self) -> dict[str, ChildSpec]:
        return {str(number): self._spec for number in range(self._size)}

    async def _start(self) -> None:
        await super()._start()
        self._workers = list(self._entries.values())

    def _keeps(self, entry: Entry, end: Exit) -> bool:
        return True

    async def resize(self, size: int) -> int:
        """Have `size` workers, and return how many there were.

        Raises:
            ValueError: it is no int from 1 up.
            Exception: whatever the start of a new worker raised.
        """
        before = len(self._workers)
        for number in range(before, _check_size(size)):
            # Its name may still be that of one which finishes what it was given.
            name = f"{number}" if f"{number}" not in self._names() else self._unique(number)
            entry = Entry(name, self._spec)
            await self._start_entry(entry)
            self._entries[name] = entry
            self._workers.append(entry)
        while len(self._workers) > size:
            entry = self._workers.pop()
            del self._entries[entry.name]
            self._due.remove(entry)
            if entry.cell is not None:
                stop(entry.cell, ExitReason.SHUTDOWN)
        self._size = size
        # What waited for one that is no longer to be replaced.
        self.context.unstash_all()
        return before

    async def _begin_due(self) -> None:
        await super()._begin_due()
        # What came while a worker was not there.
        self.context.unstash_all()

    def _names(self) -> set[str]:
        return {cell.name for cell in self._cells()}

    def _unique(self, number: int) -> str:
        return f"{number}.{self.context.system.env.next_id()}"

    async def receive(self, message: Any) -> Any:
        """As BaseSupervisor, and Resize; every other message goes to a worker."""
        match message:
            case Resize(size):
                return await self._answer(self.resize(size))
            case WhichChildren() | CountChildren():
                return await super().receive(message)
        return await self._route(message)

    async def _route(self, message: Any) -> None:
        item = self._cell._message
        try:
            chosen = self._choose(message, item)
        except Exception as error:
            # A message without a key is its sender's mistake, and not a failure of the pool.
            self._refuse(error)
            return
        if len(chosen) > 1 and isinstance(item, Ask):
            why = "a pool that broadcasts has no one reply: tell or send to it"
            if not refuse_stream(item, self._cell, why):
                self._refuse(TypeError(why))
            return
        if not all(map(_is_open, chosen)) or not (chosen or self._is_open_to_any()):
            # Who is to get it ends, and is being replaced: until then, in the order of all such.
            self.context.stash()
            return
        for place, entry in enumerate(chosen):
            cell = entry.cell
            try:
                if cell is None:
                    raise ActorStopped(self.context.ref, message, "it is being replaced")
                await self._forward(cell, item)
            except ActorStopped:
                # It stopped while the pool waited for room in it.
                self._put_back(item, chosen[place:])
                return
            except AskCycle as error:
                assert cell is not None
                if cell._rare is not None and cell._rare.undecided:
                    # It failed while the pool waited for room: first that, then this again.
                    self._put_back(item, chosen[place:])
                    return
                if not self._pass_to_another(cell):
                    self._give_up(cell, error)

    async def _forward(self, worker: Cell, item: Any) -> None:
        """Give a worker the message in hand, and with it the failures that it had elsewhere."""
        mine = self._cell._rare_part()
        failures = mine.take_failures(item)
        if not failures:
            await forward_when_room(self._cell, worker)
            return
        # Before the message: it may be handled, and fail, before this goes on.
        its = worker._rare_part()
        its.redelivered.append((item, failures))
        worker._plain = None
        try:
            await forward_when_room(self._cell, worker)
        except (ActorStopped, AskCycle):
            mine.redelivered.append((item, its.take_failures(item)))
            raise

    def _is_open_to_any(self) -> bool:
        return any(map(_is_open, self._workers))

    def _put_back(self, item: Any, left: list[Entry]) -> None:
        if not self._routing.any_worker:
            self._left = (item, left)
        put_back(self._cell)

    def _choose(self, message: Any, item: Any) -> list[Entry]:
        """Who gets a message; or who still has to, of one that was put back. Maybe nobody now."""
        if self._left is not None and self._left[0] is item:
            left = [entry for entry in self._left[1] if entry in self._workers]
            if all(map(_is_open, left)):
                self._left = None
            if left or isinstance(self._routing, Broadcast):
                # (If a resize has taken the last ones away, a broadcast is done.)
                return left
        workers = self._workers
        if self._routing.any_worker:
            workers = [entry for entry in workers if _is_open(entry)]
            if not workers:
                return []
        number = self._routing.choose(message, len(workers), lambda each: _load(workers[each]))
        return list(workers) if number == ALL else [workers[number]]

    def _pass_to_another(self, refused: Cell) -> bool:
        """A worker waits for what it is to handle itself: let one handle it that has room."""
        if self._routing.any_worker:
            for entry in self._workers:
                if entry.cell is None or entry.cell is refused or not entry.cell._has_room():
                    continue
                try:
                    self.context.forward(entry.cell)
                except AskCycle:
                    continue
                return True
        return False

    def _give_up(self, worker: Cell, error: AskCycle) -> None:
        """The worker waits for this pool, which would wait for room in it."""
        message = self._cell._message
        if isinstance(message, Ask):
            message.failed(error)
            return
        dispatcher = worker._dispatcher
        dispatcher.counters.at_the_door += 1
        dispatcher.dead_letters.add(worker, message, DeadLetterReason.NEVER_ROOM)


def _is_open(worker: Entry) -> bool:
    """Whether it takes messages: it has not stopped, and is not about to."""
    return worker.cell is not None and not worker.cell._closed()


def _load(worker: Entry) -> int:
    cell = worker.cell
    return 1 << 62 if cell is None else cell._waiting_messages() + cell._busy()


def _check_size(size: int) -> int:
    if type(size) is not int or size < 1:
        raise ValueError(f"the size of a pool is an int from 1 up: {size!r}")
    return size
