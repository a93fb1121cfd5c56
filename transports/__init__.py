"""What connects processes, and the ``trouper`` command.

For now this package holds the command line, ``transports.cli``, and what of the wire does no I/O:
`framing`, `codec`, `handshake` and `session` (see docs/wire.md). Links and the cluster come on top.
Nothing in ``actors`` or ``supervision`` imports this package.
"""

__all__: list[str] = []
