"""The control socket of a running node: who may look at it and talk to it from a shell.

`protocol` says what the lines are (no I/O), `places` where the sockets are, `server` and `commands`
what a node does, `client` how a program talks to it.
`trouper run` serves one; another program does by `async with serve(system): ...`.
"""

from transports.control.client import Client, NoNodeHere, Refused, choose_place, connect
from transports.control.places import NodeRuns, NoPlace, Place, claim, find_places, place_of
from transports.control.server import Control, serve

__all__ = [
    "Client",
    "Control",
    "NoNodeHere",
    "NoPlace",
    "NodeRuns",
    "Place",
    "Refused",
    "choose_place",
    "claim",
    "connect",
    "find_places",
    "place_of",
    "serve",
]
