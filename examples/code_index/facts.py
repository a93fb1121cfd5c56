"""What can be said about one file, and about the whole index, as plain immutable data."""

from collections.abc import Mapping
from typing import Literal

import attrs

Kind = Literal["function", "class"]


@attrs.frozen
class Definition:
    """A function (also async, also a method) or a class, and where in its file it is defined."""

    name: str
    kind: Kind
    line: int
    column: int


@attrs.frozen
class FileFacts:
    """What one file defines, imports and uses.

    `imports` has one entry for each imported module, by its absolute name as far as the place of
    the file below the root tells it. `uses` counts how often each name is read, also as an
    attribute.
    """

    path: str
    lines: int
    definitions: tuple[Definition, ...]
    imports: tuple[str, ...]
    uses: Mapping[str, int]


@attrs.frozen(order=True)
class Problem:
    """A file or a folder that could not be indexed, and why, in one line."""

    path: str
    reason: str


Findings = FileFacts | Problem


@attrs.frozen(order=True)
class Location:
    """A place where a name is defined."""

    path: str
    line: int
    column: int
    kind: Kind


@attrs.frozen
class Totals:
    """The index in numbers. `most_imported` is a module, or None when nothing is imported."""

    files: int
    lines: int
    functions: int
    classes: int
    imports: int
    problems: tuple[Problem, ...]
    most_imported: str | None


@attrs.frozen
class Snapshot:
    """The whole index in one canonical order: two indexes of the same tree are equal as values.

    `lines` has (path, number of lines) for each file, `definitions` (name, its locations),
    `importers` (module, number of imports by path), `uses` (name, how often it is read).
    """

    lines: tuple[tuple[str, int], ...]
    definitions: tuple[tuple[str, tuple[Location, ...]], ...]
    importers: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    uses: tuple[tuple[str, int], ...]
    problems: tuple[Problem, ...]
