"""A bank that moves money between accounts, and keeps every cent whatever crashes.

    trouper run examples.bank
    trouper run examples.bank --accounts 20 --transfers 2000 --chaos 0.1 --seed 7
    trouper run examples.bank --nodes 3 --kill 20 --seed 7
    trouper simulate examples.bank --seeds 100

The actors::

    Bank                   a Supervisor: restarts whoever fails
    |-- account-1 ...      one for each account; withdraws and deposits, each transfer once
    `-- teller             carries a transfer from one account to the other

A transfer has two steps in two actors, so a crash in between must neither lose the money nor move
it twice. Three rules see to that:

1. What counts is in a journal on disk. An actor writes a line first, and only then replies; the
   next incarnation reads its lines and knows what the old one knew.
2. A transfer has a number. An account that is asked for the same one again does nothing anew.
3. The teller writes down what it begins. Its next incarnation carries on what it finds begun.

Who asks for a transfer may get an error (ActorFailed) instead of a reply: then it asks again with
the same number.

The same actors also run as branches, between which money moves: on a simulated network, and in
processes of the operating system that are killed.

Reading order: `messages`, `journal`, `account`, `teller`, `bank`, `command`; then `branch`, and
either `simulation`, or `processes`, `kills` (the customers, and who kills), and `audit`.
"""

from examples.bank.command import main

__all__ = ["main"]
