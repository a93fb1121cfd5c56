"""What connects processes, and the ``trouper`` command.

For now this package holds the command line, ``transports.cli``, and the lowest layers of the wire,
`framing` and `codec` (see docs/wire.md). Sessions, links and the cluster come on top of them.
Nothing in ``actors`` or ``supervision`` imports this package.
"""

__all__: list[str] = []
