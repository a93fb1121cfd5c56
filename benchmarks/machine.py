"""What a result was measured on: the machine, the versions, the commit, the date."""

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trio


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts that stand above a table of results."""

    cpu: str
    cores: int
    system: str
    python: str
    trio: str
    commit: str | None
    date: str


def this_machine() -> Machine:
    """The facts of here and now."""
    return Machine(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        trio=trio.__version__,
        commit=_commit(),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def _commit() -> str | None:
    """The commit of the tree this file is in, with "+" if it differs from it; None without git."""
    folder = Path(__file__).parent

    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", *args], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "--short", "HEAD")
        # The results are written by the run itself: they do not make the measured code differ.
        changed = git("status", "--porcelain", "--", ":/", ":!benchmarks/RESULTS.md")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+" if changed else commit
