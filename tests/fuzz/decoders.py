"""``make fuzz``: all decoders, on bytes that libFuzzer changes until they reach new code.

What it calls is `tests.transports.fuzz`, of which hypothesis runs a slice in the normal tests. The
first argument is the folder for its corpus, which is kept for the next run, and for the input that
broke something, if there is one; the others are libFuzzer's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["transports"]):
    from tests.transports import fuzz


def main(folder: str, *options: str) -> None:
    """Fuzz until the options say that it is enough; never returns."""
    corpus = Path(folder) / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(fuzz.CORPUS):
        (corpus / f"seed-{number}").write_bytes(data)
    atheris.Setup(
        [sys.argv[0], f"-artifact_prefix={folder}/", *options, str(corpus)],
        fuzz.each,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
