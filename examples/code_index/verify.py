"""The same index without actors: what the actors' result is compared with."""

from examples.code_index.facts import Problem, Snapshot
from examples.code_index.index import Index
from examples.code_index.reading import read_facts
from examples.code_index.walking import find_files


def index_by_loop(root: str) -> Snapshot:
    """Index the folder by a plain loop, one file after the other."""
    index = Index()
    for found in find_files(root):
        index.add(found if isinstance(found, Problem) else read_facts(root, found))
    return index.snapshot()


def differences(actual: Snapshot, expected: Snapshot) -> list[str]:
    """What differs between two snapshots, one line for each kind of entry; empty when equal."""
    found = []
    for field in ("lines", "problems", "definitions", "importers", "uses"):
        ours, theirs = getattr(actual, field), getattr(expected, field)
        if ours != theirs:
            known, wanted = set(ours), set(theirs)
            missing = [entry for entry in theirs if entry not in known]
            surplus = [entry for entry in ours if entry not in wanted]
            examples = ", ".join(repr(entry)[:80] for entry in (*missing, *surplus)[:3])
            found.append(f"{field}: {len(missing)} missing, {len(surplus)} surplus ({examples})")
    return found
