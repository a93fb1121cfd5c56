"""Exactly one in the cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from actors import Actor
from supervision import Strategy
from transports.cluster.owner import ONLY, Key
from transports.cluster.region import Region


class Singleton(Region):
    """An actor of which there is one in the whole cluster, reached from each node by its own ref.

        counter = await system.start(Singleton, Counter, 100, name="counter")
        await counter.ask(Next())

    Each node that is to be able to have it starts it so, by the same name and at the same place.
    One of these nodes has the actor, as ``actor://NODE/counter/owner/NAME-OF-ITS-CLASS``; what the
    others are sent they pass on to it, in order, with the asker and the time that is left. While
    there is none, they hold 1,000 messages, and then those that their mailbox has room for.

    cls, args: what `spawn` takes. strategy: OneForOne(...): what is done when it fails; beyond its
    limit this actor fails too, and lets another node have it. shutdown: seconds for its stop.

    The actor may act as long as its node renews its lease (see `Lease`): before each message,
    start and hook it is looked whether that holds, and before those of its children; when it is
    over the actor is cancelled at once, without its `stopped()` hook. `self.context.fence` is a
    number that each later owner has a larger one of. A message whose owner is lost in the middle of
    it is not given to the next one: who asked gets ActorStopped. One that had provably not begun
    is.

    Raises:
        NoStore: the nodes share none.
        NotAnActor, TypeError, ValueError: an argument is none of what is said above.
    """

    _is_eager: ClassVar[bool] = True

    def __init__(
        self,
        cls: Callable[..., Actor],
        *args: Any,
        strategy: Strategy | None = None,
        shutdown: float | None = None,
    ) -> None:
        super().__init__(cls, *args, strategy=strategy, shutdown=shutdown)

    def _place(self, message: Any) -> tuple[int, Key, Any]:
        return 0, ONLY, message
