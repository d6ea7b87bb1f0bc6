"""A tool of one's own: a typed function. Copy it to `own/units.py` and name it in params.yaml."""

from __future__ import annotations

from typing import Literal

from components.tools.function_tool import tool

METRES = {"km": 1000.0, "mi": 1609.344, "ft": 0.3048, "nmi": 1852.0}


@tool
def convert(amount: float, source: Literal["km", "mi", "ft", "nmi"], target: Literal["km", "mi", "ft", "nmi"]) -> str:
    """Converts a length.

    Args:
        amount: how much
        source: unit of the amount
        target: unit that is wanted
    """
    return f"{amount * METRES[source] / METRES[target]:.2f} {target}"
