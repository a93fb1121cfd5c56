"""The index itself: merges facts in any order, and answers questions."""

from collections import Counter

import attrs

from examples.code_index.facts import (
    FileFacts,
    Findings,
    Location,
    Problem,
    Snapshot,
    Totals,
)


@attrs.define(eq=False)
class Index:
    """Grows by `add`. What it says does not depend on the order in which facts were added."""

    lines: dict[str, int] = attrs.field(factory=dict)
    problems: dict[str, Problem] = attrs.field(factory=dict)
    definitions: dict[str, list[Location]] = attrs.field(factory=dict)
    importers: dict[str, Counter[str]] = attrs.field(factory=dict)
    uses: Counter[str] = attrs.field(factory=Counter)

    def __len__(self) -> int:
        """How many files (and unreadable folders) have been added."""
        return len(self.lines) + len(self.problems)

    def add(self, findings: Findings) -> bool:
        """Merge what was found in one file, and return True; False if the file is there already."""
        if findings.path in self.lines or findings.path in self.problems:
            return False
        match findings:
            case Problem(path):
                self.problems[path] = findings
            case FileFacts(path, lines):
                self.lines[path] = lines
                self._merge(findings)
        return True

    def _merge(self, facts: FileFacts) -> None:
        for each in facts.definitions:
            place = Location(facts.path, each.line, each.column, each.kind)
            self.definitions.setdefault(each.name, []).append(place)
        for module in facts.imports:
            self.importers.setdefault(module, Counter())[facts.path] += 1
        self.uses.update(facts.uses)

    def where_defined(self, name: str) -> tuple[Location, ...]:
        """Every place where a function or a class of that name is defined, by path and line."""
        return tuple(sorted(self.definitions.get(name, ())))

    def who_imports(self, module: str) -> tuple[str, ...]:
        """The paths of the files that import the module, sorted.

        ``from a import b`` is an import of ``a``: whether ``b`` is a module, only running it tells.
        """
        return tuple(sorted(self.importers.get(module, ())))

    def most_used(self, count: int) -> tuple[tuple[str, int], ...]:
        """The names that are read most, and how often; names read equally often are sorted."""
        ranking = sorted(self.uses.items(), key=lambda item: (-item[1], item[0]))
        return tuple(ranking[:count])

    def totals(self) -> Totals:
        """The index in numbers."""
        kinds = Counter(place.kind for places in self.definitions.values() for place in places)
        importers = sorted(self.importers.items(), key=lambda item: (-len(item[1]), item[0]))
        return Totals(
            files=len(self.lines),
            lines=sum(self.lines.values()),
            functions=kinds["function"],
            classes=kinds["class"],
            imports=sum(paths.total() for paths in self.importers.values()),
            problems=tuple(sorted(self.problems.values())),
            most_imported=importers[0][0] if importers else None,
        )

    def snapshot(self) -> Snapshot:
        """Everything, in canonical order."""
        return Snapshot(
            lines=tuple(sorted(self.lines.items())),
            definitions=tuple(
                (name, self.where_defined(name)) for name in sorted(self.definitions)
            ),
            importers=tuple(
                (module, tuple(sorted(self.importers[module].items())))
                for module in sorted(self.importers)
            ),
            uses=tuple(sorted(self.uses.items())),
            problems=tuple(sorted(self.problems.values())),
        )
