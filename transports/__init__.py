"""What connects processes, and the ``trouper`` command.

For now this package holds only the command line, ``transports.cli``. The wire format, links between
processes and the cluster arrive with the transport issues. Nothing in ``actors`` or
``supervision`` imports this package.
"""

__all__: list[str] = []
