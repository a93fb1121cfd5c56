"""An index of Python source code, built by actors.

    trouper run examples.code_index                    # this Python's standard library
    trouper run examples.code_index PATH --workers 4   # any folder, on four worker processes
    trouper run examples.code_index --chaos 0.2 --kill 150 --seed 7 --verify

The actors, and who talks to whom::

    IndexJob                     starts the others, and ends when one fails for good
    |-- Reporter                 draws the progress bar
    |-- Aggregator               merges what the indexers find, answers questions about it
    |-- Crawler                  walks the folder, as far as it is asked to
    |-- WorkQueue                holds a bounded number of files, hands one to each idle indexer
    |-- WorkerProcesses          keeps the processes alive, each of them a node
    |-- Indexers                 keeps the indexers alive, wherever they are
    |   `-- Indexer (several)    parses one file at a time, in a worker process
    `-- Saboteur                 kills and freezes processes, if it is asked to

    Crawler <- FindFiles  - WorkQueue <- Ready     - Indexer - Indexed -> Aggregator -> Reporter
            -  FilesFound ->          -  IndexFile ->            -- Complete -> IndexJob

Nobody is sent more than they asked for. An indexer asks the queue for one file, and the queue asks
the crawler for more only when it runs low; so a slow indexer slows the crawler, and a tree of any
size needs the same memory for what is on its way. Several indexers share a process so that one has
a file at hand while another one's `Ready` travels.

The actors do not know in which process the others are; with ``--workers 0`` all are in one. An
indexer may crash at any moment (``--chaos`` makes it so), and so may a process (``--kill``), or it
may be silent until it is given up (``--freeze``). Their supervisors start them again; the queue,
which watches the indexers, gives the files that they held to whoever is idle next; and the
aggregator counts a file once, however often it is reported. The index is therefore equal to the one
that `verify.py` builds with a plain loop, which ``--verify`` checks.

Reading order: `messages`, `indexing_job`, `crawler`, `work_queue`, `indexers`, `indexer`,
`aggregator`, `reporter`, `saboteur`. The modules `facts`, `walking`, `paths`, `reading` and `index`
know nothing of actors.
"""

from examples.code_index.command import main

__all__ = ["main"]
