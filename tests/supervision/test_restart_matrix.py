"""Kind x exit x strategy: who is there afterwards, against the table and what OTP documents.

OTP (supervisor(3), "Supervision principles" and "Child specification"): a permanent child is
always restarted; a transient one if it terminated by anything but normal, shutdown or {shutdown,
Term}; a temporary one never, also when rest_for_one or one_for_all ended it because of a sibling.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from actors import ExitReason
from actors.stopping import stop
from supervision import OneForAll, OneForOne, RestForOne, Strategy, Supervisor, child
from supervision.kinds import RESTARTED, Exit, Kind
from tests.actors.kit import Checked, Doer, fail, nap

STRATEGIES = {"OneForOne": OneForOne(), "OneForAll": OneForAll(), "RestForOne": RestForOne()}

# What OTP documents: by kind, the exits after which the child itself is restarted.
OTP = {
    "permanent": {"normal", "shutdown", "killed", "failure"},
    "transient": {"killed", "failure"},
    "temporary": set(),
}


class Three(Supervisor):
    def __init__(self, strategy: Strategy, kind: Any, sibling: Any) -> None:
        self.strategy = strategy
        self.kinds = (sibling, kind, sibling)

    def children(self) -> Any:
        return [child(Doer, name=n, kind=k) for n, k in zip("abc", self.kinds, strict=True)]


async def end(child: Any, how: Exit) -> None:
    if how is Exit.NORMAL:
        child.stop()
    elif how is Exit.SHUTDOWN:
        stop(child, ExitReason.SHUTDOWN)
    elif how is Exit.FAILURE:
        child.tell(fail)
    else:
        # It does not stop in its time.
        child.tell(nap(1e6))
        await wait_all_tasks_blocked()
        child.stop()
        await child.stopped()
    await wait_all_tasks_blocked()


def expected(strategy: str, kind: Kind, how: Exit, sibling: Kind) -> dict[str, str]:
    """Of a, b (which ended) and c: "same", "new" (ref or incarnation), or not there."""
    restarts = how.value in OTP[kind.value]
    hit = {"OneForOne": "", "OneForAll": "ac", "RestForOne": "c"}[strategy] if restarts else ""
    fate = {}
    for name in "ac":
        if name not in hit:
            fate[name] = "same"
        elif sibling is not Kind.TEMPORARY:
            fate[name] = "new"
    if restarts:
        fate["b"] = "new"
    return fate


@pytest.mark.parametrize(
    ("strategy", "kind", "how", "sibling"), list(itertools.product(STRATEGIES, Kind, Exit, Kind))
)
async def test_who_is_there_afterwards(
    strategy: str, kind: Kind, how: Exit, sibling: Kind, autojump_clock: Any
) -> None:
    async with Checked("s") as system:
        await system.start(Three, STRATEGIES[strategy], kind.value, sibling.value, name="top")

        def here() -> dict[str, Any]:
            found = system._find(system.at("actor://s/top").address)
            assert found is not None
            return {
                name: (cell, cell.incarnation) for name, cell in (found._children or {}).items()
            }

        before = here()
        await end(before["b"][0], how)
        after = here()
        fate = {name: "same" if before[name] == life else "new" for name, life in after.items()}
        assert fate == expected(strategy, kind, how, sibling)


def test_the_table_of_the_code_is_that_of_the_docs_and_of_otp(repository: Path) -> None:
    page = (repository / "docs" / "semantics.md").read_text()
    section = page.partition("### Who is restarted")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (permanent|transient|temporary) \| (.*) \|$", section, re.MULTILINE)
    assert len(rows) == 3
    for kind, cells in rows:
        told = [cell.strip() == "restarted" for cell in cells.split("|")]
        assert told == [RESTARTED[Kind(kind)][how] for how in Exit]
        assert OTP[kind] == {how.value for how in Exit if RESTARTED[Kind(kind)][how]}
