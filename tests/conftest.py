"""The order of the suite: what drives servers and processes takes longest, so it begins first; two run side by side."""

from __future__ import annotations

import pytest

LONG = ("tests/flows/", "tests/browser/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, everything else in its own order."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
