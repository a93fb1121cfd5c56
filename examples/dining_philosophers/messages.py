"""What is said at the table."""

from actors import Request, message


@message
class Take(Request[None]):
    """Lend me the fork; replied when it is mine."""


@message
class PutBack:
    """I do not need the fork any more."""


@message
class Hungry:
    """To itself: it is time to eat."""
