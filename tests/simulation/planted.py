"""All planted bugs: `with planted("no-deduplication"): ...`.

They are what implementations of such runtimes get wrong, one at a time: a simulator that does not
find one of them would not find it in the runtime either.
"""

from __future__ import annotations

from tests.simulation import (  # noqa: F401 - importing a module registers its bugs
    bugs_of_actors,
    bugs_of_applications,
    bugs_of_clusters,
    bugs_of_nodes,
    bugs_of_routing,
    bugs_of_sessions,
)
from tests.simulation.planting import BUGS, Bug, planted

__all__ = ["BUGS", "Bug", "planted"]
