"""Which files of a folder belong to the index."""

import os
from collections.abc import Iterator

from examples.code_index.facts import Problem
from examples.code_index.paths import portable

SKIPPED_FOLDERS = frozenset({"__pycache__", "site-packages", "dist-packages", "node_modules"})


def find_files(root: str) -> Iterator[str | Problem]:
    """The paths of all ``*.py`` files below root, relative to it and portable, in sorted order.

    Left out are hidden folders (``.git``, ``.venv``), virtual environments, caches, and installed
    packages (so that the standard library is just that). Links to folders are not followed, so a
    loop of links ends. A folder that cannot be listed comes as a Problem.
    """
    errors: list[OSError] = []
    for folder, subfolders, names in os.walk(root, onerror=errors.append):
        yield from _as_problems(root, errors)
        subfolders[:] = sorted(name for name in subfolders if not _is_skipped(folder, name))
        for name in sorted(names):
            if name.endswith(".py"):
                yield portable(os.path.relpath(os.path.join(folder, name), root))
    yield from _as_problems(root, errors)


def _is_skipped(folder: str, name: str) -> bool:
    return (
        name in SKIPPED_FOLDERS
        or name.startswith(".")
        or os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
    )


def _as_problems(root: str, errors: list[OSError]) -> Iterator[Problem]:
    for error in errors:
        path = os.path.relpath(error.filename, root)
        yield Problem(portable(path), f"cannot list the folder: {error.strerror}")
    errors.clear()
