"""Functions that a user might bring as tools."""

from __future__ import annotations

import threading
import time

from components.tools.function_tool import tool


@tool
def convert(kilometres: float) -> str:
    """Converts kilometres to miles."""
    return f"{kilometres * 0.621371:.1f}"


@tool(name="search_web")
def clash(query: str) -> str:
    """Has a name that another begins."""
    return query


@tool
def sleepy(seconds: float) -> str:
    """Takes long."""
    time.sleep(seconds)
    return "done"


RELEASED = threading.Event()
"""Lets whoever waits in `stuck` go, when a test is over."""


@tool
def stuck(word: str) -> str:
    """Never answers."""
    RELEASED.wait()
    return word
