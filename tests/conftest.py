"""The order of the suite: what drives servers and processes takes longest, so it begins first; two run side by side.

Drawn examples are the same in every run, so that a commit is judged by what it changes; `make fuzz` draws new ones.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Before torch is imported: two processes of the suite share two cores, and threads that spin for long keep the other's
# from running (70 against 32 s for the tests of sessions).
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
LONG = ("tests/flows/", "tests/browser/")

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", deadline=None)
settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, everything else in its own order."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
