"""A chat: each person is a node of their own, and rooms are topics.

In three terminals:

    trouper run --name ada --listen 127.0.0.1:7401 examples.chat
    trouper run --name bob --listen 127.0.0.1:7402 --join 127.0.0.1:7401 examples.chat
    trouper run --name cleo --join 127.0.0.1:7401 --join 127.0.0.1:7402 examples.chat

All three are equal, and nobody else is needed: of any two, one joins the other. A line is said to
everybody in the room; `/help` lists what else there is.

The actors: one `Member` on each node, `actor://ada/member`. It subscribes to the topic of its room,
`topic://chat.lobby`, so what is published there reaches those in the room, on whichever node, and
nobody else. Three things are worth a look:

1. Who is there? Each member says so once a second, in the room, and is watched by all who hear it.
   A watch ends with `Terminated`: somebody has left, or the node is lost (a killed process).
   Nobody keeps a list for all, and two parts of a broken network meet again by themselves.
2. A node has just started, and is connected with nobody yet: what it publishes then reaches nobody.
   That is why a member says that it is there more than once.
3. The lines of one person arrive in the order in which they were typed.

Reading order: `messages`, `member`, `commands`, `terminal`, `application`.
"""

from examples.chat.application import main

__all__ = ["main"]
