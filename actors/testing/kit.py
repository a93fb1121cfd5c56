"""One actor, run step by step without a system; what it does is recorded."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import trio

from actors.actor import Actor, actor_class, is_async
from actors.address import check_name
from actors.env import Env
from actors.errors import ForgottenAwait, NameTaken, NotRunning, brief
from actors.placement import On, check_on
from actors.ref import ActorRef
from actors.testing import effects
from actors.testing.stand_ins import NOTHING_IN_HAND, KitContext, KitRef, KitSystem

ActorT = TypeVar("ActorT", bound=Actor)
T = TypeVar("T")


class ActorKit(Generic[ActorT]):
    """Runs one actor without a system: handlers are called, effects are a list.

        kit = ActorKit(Account, 100)
        assert kit.handle(Balance()) == 100
        kit.handle(Subscribe(kit.ref("reader")))
        kit.handle(Deposit(5))
        assert kit.effects == [Told(kit.ref("reader"), BalanceChanged(105))]

    recipe, args: what `spawn` takes. fence: what `context.fence` is, for a part of a `Singleton` or
    `Sharded`. `kit.actor` is the actor; `kit.context` its context, which has
    all that the real one has. Nothing is delivered: what it tells itself is an effect too.

    A handler that waits for anything but asks and sends needs trio: `await kit.handle_async(...)`.

    Raises:
        NotAnActor: `recipe` makes no actor.
        Exception: whatever the constructor raised.
    """

    def __init__(
        self,
        recipe: Callable[..., ActorT],
        *args: Any,
        name: str = "actor",
        fence: int | None = None,
    ) -> None:
        cls = actor_class(recipe)
        keywords: dict[str, Any] = {}
        made: Any = recipe
        while isinstance(made, functools.partial):
            args = (*made.args, *args)
            keywords = {**made.keywords, **keywords}
            made = made.func
        self.effects: list[effects.Effect] = []
        self.env = Env(0)
        self.fence = fence
        self._refs: dict[str, KitRef] = {}
        self._answers: list[tuple[ActorRef, Any]] = []
        self._behaviour: Callable[[Any], Any] | None = None
        self._stash: list[Any] = []
        self._message: Any = NOTHING_IN_HAND
        self._taken_over = False
        self.system = KitSystem(self)
        self.context: KitContext = KitContext(self, self.ref(check_name(name)))
        self.actor: ActorT = cls.__new__(cls, *args, **keywords)  # type: ignore[assignment]
        self.actor.context = self.context
        self.actor.__init__(*args, **keywords)  # type: ignore[misc]

    # -- what a test does

    def ref(self, path: str) -> KitRef:
        """A ref to give to the actor; the same one for the same path."""
        if path not in self._refs:
            self._refs[path] = KitRef(self, path)
        return self._refs[path]

    def answer(self, ref: ActorRef, value: Any) -> None:
        """The reply to the next ask to `ref`; an exception is raised there. In the order given.

        To a stream it is an iterable of the items.
        """
        self._answers.append((ref, value))

    def handle(self, message: Any) -> Any:
        """Let the actor handle a message; returns what the handler returned.

        Raises:
            AssertionError: the handler waits for something that needs trio.
            TypeError: it answers with a stream.
            ForgottenAwait: it returned a coroutine.
            Exception: whatever the handler raised.
        """
        handler = self._begin(message)
        try:
            result = handler(message)
            if is_async(handler):
                result = self._run_now(result, f"handler of {brief(message)}")
            return self._checked(handler, result)
        finally:
            self._message = NOTHING_IN_HAND

    async def handle_async(self, message: Any) -> Any:
        """As `handle`, inside trio: the handler may wait for anything."""
        handler = self._begin(message)
        try:
            result = handler(message)
            if is_async(handler):
                result = await result
            return self._checked(handler, result)
        finally:
            self._message = NOTHING_IN_HAND

    def stream(self, message: Any, most: int | None = None) -> list[Any]:
        """Let the actor answer a message with a stream; returns its items.

        most: so many items at the most, as if the consumer then left; None: all of them.

        Raises:
            TypeError: the handler answers with a plain value.
            AssertionError: it waits for something that needs trio.
            Exception: whatever the handler or its generator raised.
        """
        what = f"handler of {brief(message)}"
        return self._run_now(self.stream_async(message, most), what, "stream_async")  # type: ignore[no-any-return]

    async def stream_async(self, message: Any, most: int | None = None) -> list[Any]:
        """As `stream`, inside trio: the generator may wait for anything."""
        handler = self._begin(message)
        items: list[Any] = []
        try:
            result = handler(message)
            if is_async(handler):
                result = await result
            if not isinstance(result, types.AsyncGeneratorType):
                raise TypeError(f"{brief(message)} is answered with no stream: {result!r}")
            while most is None or len(items) < most:
                try:
                    items.append(await anext(result))
                except StopAsyncIteration:
                    break
            await result.aclose()
        finally:
            self._message = NOTHING_IN_HAND
        return items

    def run(self, hook: Any) -> Any:
        """Run a hook to its end: `kit.run(kit.actor.started())`. Raises as `handle`."""
        return self._run_now(hook, "hook")

    def take_effects(self) -> list[effects.Effect]:
        """The effects so far, which are then forgotten."""
        taken, self.effects = self.effects, []
        return taken

    @property
    def stashed(self) -> tuple[Any, ...]:
        """What is stashed now."""
        return tuple(self._stash)

    # -- inside

    def _begin(self, message: Any) -> Callable[[Any], Any]:
        self._message = message
        self._taken_over = False
        return self._behaviour or self.actor.receive

    def _checked(self, handler: Callable[[Any], Any], result: Any) -> Any:
        if isinstance(result, types.CoroutineType):
            result.close()
            name = getattr(handler, "__qualname__", repr(handler))
            raise ForgottenAwait(self.context.ref, name)
        if isinstance(result, types.AsyncGeneratorType):
            raise TypeError("the handler answers with a stream: `kit.stream(message)`")
        return result

    def _run_now(self, coroutine: Any, what: str, in_trio: str = "handle_async") -> Any:
        needs_trio = f"the {what} waits for trio: `await kit.{in_trio}(...)`"
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        except RuntimeError as error:
            if trio.lowlevel.in_trio_run() or "from async context" not in str(error):
                raise
            # What trio's functions raise where there is no trio.
            raise AssertionError(needs_trio) from error
        coroutine.close()
        raise AssertionError(needs_trio)

    def _spawn(
        self,
        siblings: dict[str, KitRef],
        folder: str,
        cls: Callable[..., Actor],
        args: tuple[Any, ...],
        name: str | None,
        on: On | None,
    ) -> KitRef:
        if on is not None:
            check_on(on)
        made = actor_class(cls)
        if name is None:
            name = f"{made._traits.name}~{self.env.next_id()}"
        elif check_name(name) in siblings:
            raise NameTaken(name, siblings[name])
        ref = siblings[name] = self.ref(folder + name)
        self.effects.append(effects.Spawned(cls, args, ref, on))
        return ref

    def _answer(self, ref: ActorRef, message: Any) -> Any:
        for number, (asked, value) in enumerate(self._answers):
            if asked is ref:
                del self._answers[number]
                if isinstance(value, BaseException):
                    raise value
                return value
        raise AssertionError(
            f"{ref} was asked {brief(message)}, and no answer was given: kit.answer(ref, value)"
        )

    def _in_hand(self, what: str) -> Any:
        if self._message is NOTHING_IN_HAND:
            raise NotRunning(
                "kit", f"context.{what}() belongs in a handler: no message is being handled now"
            )
        return self._message
