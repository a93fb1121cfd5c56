"""What is said at the table."""

from actors import Request, message


@message(name="dining.Take")
class Take(Request[None]):
    """Lend me the fork; replied when it is mine."""


@message(name="dining.PutBack")
class PutBack:
    """I do not need the fork any more."""


@message(name="dining.Hungry")
class Hungry:
    """To itself: it is time to eat."""
