"""The actor of one fork."""

from collections import deque

from actors import Actor, Reply
from examples.dining_philosophers.messages import PutBack, Take


class Fork(Actor):
    """Lent to one at a time, first come first served."""

    def __init__(self) -> None:
        self.is_out = False
        self.waiting: deque[Reply] = deque()

    def receive(self, message: Take | PutBack) -> None:
        """Lend it now or later, or take it back."""
        if isinstance(message, Take):
            self.waiting.append(self.context.reply_later())
        else:
            self.is_out = False
        while self.waiting and not self.is_out:
            # Who has gone meanwhile does not get it.
            self.is_out = self.waiting.popleft().reply()
