"""What all tests share."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

# The machine that runs the tests may be slow; an example is wrong, not late. The blob repeats it.
settings.register_profile("trouper", deadline=None, print_blob=True)
settings.load_profile("trouper")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the checkout."""
    return Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make test` has no time for what is long: TROUPER_LONG=1 runs it too."""
    if os.environ.get("TROUPER_LONG"):
        return
    left = [item for item in items if item.get_closest_marker("long") is not None]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item.get_closest_marker("long") is None]


def pytest_collection_finish() -> None:
    """What pytest has loaded by now stays: the collector need not look at it in every pass."""
    gc.collect()
    gc.freeze()
