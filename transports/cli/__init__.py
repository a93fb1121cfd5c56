"""The ``trouper`` command.

``trouper run MODULE[:name] [ARGS]...`` imports a module and runs what it finds there. Completion in
the shell comes with click: ``eval "$(_TROUPER_COMPLETE=bash_source trouper)"`` (or zsh, fish).
"""

from transports.cli.command import main

__all__ = ["main"]
