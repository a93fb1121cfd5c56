"""A supervisor whose children are added and removed at run time."""

from __future__ import annotations

from typing import Any, ClassVar

from actors import ActorRef, NameTaken
from supervision.base import BaseSupervisor
from supervision.child import ChildSpec
from supervision.entry import Entry
from supervision.errors import TooManyChildren
from supervision.strategies import OneForOne, Strategy
from supervision.views import StartChild


class DynamicSupervisor(BaseSupervisor):
    """Supervises children that come and go: each one for itself (OneForOne).

        connections = system.spawn(DynamicSupervisor)
        ref = await connections.ask(StartChild(child(Connection, stream, kind="temporary")))

    Class attribute `max_children`: how many there may be at once; None: no limit. A child that has
    ended and is not restarted is forgotten, and its name is free. See BaseSupervisor for the rest.
    """

    max_children: ClassVar[int | None] = None

    _forgets = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.max_children is not None and (
            type(cls.max_children) is not int or cls.max_children < 1
        ):
            raise ValueError(
                f"{cls.__name__}.max_children is an int from 1 up, or None: {cls.max_children!r}"
            )
        _only_one_for_one(cls.strategy, cls.__name__)

    async def _start(self) -> None:
        _only_one_for_one(self.strategy, type(self).__name__)
        await super()._start()

    async def start_child(self, spec: ChildSpec) -> ActorRef:
        """Start a child, and return its ref once it has started.

        Raises:
            TooManyChildren: there are `max_children`.
            NameTaken: a child has that name.
            NoNode: no node takes it now, or within its `start_within` seconds.
            Exception: whatever its start raised; it is forgotten then.
        """
        if not isinstance(spec, ChildSpec):
            raise TypeError(f"start_child() takes child(...), not {spec!r}")
        if self.max_children is not None and len(self._entries) >= self.max_children:
            raise TooManyChildren(self.context.ref, self.max_children)
        name = spec.name or f"{spec.own_name}.{self.context.system.env.next_id()}"
        taken = self._entries.get(name)
        if taken is not None:
            raise NameTaken(name, taken.ref or self.context.ref)
        entry = self._entries[name] = Entry(name, spec)
        try:
            await self._start_entry(entry, spec.start_within or 0.0)
        except BaseException:
            del self._entries[name]
            raise
        assert entry.ref is not None
        return entry.ref

    async def stop_child(self, name: str) -> None:
        """Stop a child, and return once it has stopped. It is forgotten.

        Raises:
            NoSuchChild: there is none of that name.
        """
        entry = self._entry(name)
        try:
            await super().stop_child(name)
        finally:
            if self._entries.get(name) is entry:
                del self._entries[name]

    async def receive(self, message: Any) -> Any:
        """As BaseSupervisor, and StartChild."""
        match message:
            case StartChild(spec):
                return await self._answer(self.start_child(spec))
        return await super().receive(message)


def _only_one_for_one(strategy: Strategy, where: str) -> None:
    if not isinstance(strategy, OneForOne):
        raise TypeError(
            f"{where}.strategy is OneForOne(...): children that come and go in no fixed order "
            f"are no group to restart together: {strategy!r}"
        )
