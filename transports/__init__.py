"""What connects processes, and the ``trouper`` command.

For now this package holds the command line, ``transports.cli``, and the lowest layers of the wire,
`framing` and `codec` (see docs/wire.md). Sessions, links and the cluster come on top of them.
Nothing in ``actors`` or ``supervision`` imports this package. To import it is what makes
``ActorSystem(strict_messages=True)`` possible.
"""

from actors.strict import install_round_tripper
from transports.errors import DecodeError, NotEncodable
from transports.round_trip import RoundTrip

install_round_tripper(RoundTrip)

__all__ = ["DecodeError", "NotEncodable"]
