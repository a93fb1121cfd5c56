"""One benchmark in a process of its own: ``python -m benchmarks.worker NAME ROUNDS SCALE``.

Prints its result as one line of JSON. A process each, so that one workload's heap, caches and
specialised bytecode do not change the figures of the next.
"""

import json
import logging
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import Benchmark, Failed, Result, Row
from benchmarks.workloads import find

#: Seconds after which a benchmark is given up: many times what any of them takes.
GIVE_UP_AFTER = 300.0


def run_in_process(benchmark: Benchmark, *, rounds: int, scale: float) -> Row:
    """Run `benchmark` in a fresh Python; what goes wrong there becomes a `Failed` row."""
    command = [sys.executable, "-m", "benchmarks.worker", benchmark.name, str(rounds), str(scale)]
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=GIVE_UP_AFTER,
        )
    except subprocess.TimeoutExpired:
        return Failed(benchmark.name, benchmark.title, f"no result in {GIVE_UP_AFTER:.0f} s")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return Failed(benchmark.name, benchmark.title, lines[-1])
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def main(name: str, rounds: str, scale: str) -> None:
    """Run the benchmark called `name` here, and print its result."""
    # A failure is logged with its traceback: writing those is not what the restarts measure.
    logging.getLogger("actors").setLevel(logging.CRITICAL + 1)
    result = find(name).run(rounds=int(rounds), scale=float(scale))
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main(*sys.argv[1:])
