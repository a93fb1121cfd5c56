"""Dining philosophers (Dijkstra, 1965): forks and philosophers as actors that may crash.

    trouper run examples.dining_philosophers
    trouper run examples.dining_philosophers --seats 7 --meals 50 --chaos 0.02 --seed 3

Each philosopher needs the fork on either side to eat. A fork is an actor: it is lent to one at a
time, first come first served; who asks for a fork that is out gets the reply when it is back
(`reply_later`). Nobody waits in a circle, because everybody takes the fork with the lower number
first.

When one of them crashes, nobody knows any more who held what. So the supervisor's strategy is
OneForAll: the others leave what they are at, and the table is laid anew. How much everybody has
eaten is written down outside the actors.

Reading order: `messages`, `table`, `fork`, `philosopher`, `command`.
"""

from examples.dining_philosophers.command import main

__all__ = ["main"]
