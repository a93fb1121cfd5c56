"""An index of Python source code, built by actors.

    trouper run examples.code_index                    # this Python's standard library
    trouper run examples.code_index PATH --workers 8   # any folder
    trouper run examples.code_index --chaos 0.2 --seed 7 --verify

The actors, and who talks to whom::

    IndexJob                     starts the others, decides what happens when one fails
    |-- Reporter                 draws the progress bar
    |-- Aggregator               merges what the indexers find, answers questions about it
    |-- Crawler                  walks the folder, as far as it is asked to
    |-- WorkQueue                holds a bounded number of files, hands one to each idle indexer
    `-- Indexer (several)        parses one file at a time

    Crawler <- FindFiles  - WorkQueue <- Ready     - Indexer - Indexed -> Aggregator -> Reporter
            -  FilesFound ->          -  IndexFile ->            -- Complete -> IndexJob

Nobody is sent more than they asked for. An indexer asks the queue for one file, and the queue asks
the crawler for more only when it runs low; so a slow indexer slows the crawler, and a tree of any
size needs the same memory for what is on its way.

An indexer may crash at any moment (``--chaos`` makes it so). Its parent restarts it; the queue,
which watches it, gives the file it held to whoever is idle next; and the aggregator counts a file
once, however often it is reported. The index is therefore equal to the one that `verify.py` builds
with a plain loop, which ``--verify`` checks.

Reading order: `messages`, `indexing_job`, `crawler`, `work_queue`, `indexer`, `aggregator`,
`reporter`. The modules `facts`, `walking`, `reading` and `index` know nothing of actors.
"""

from examples.code_index.command import main

__all__ = ["main"]
