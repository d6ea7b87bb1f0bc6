"""The rows of an experiment as one picture: every figure with its interval, by unit, and the bars asked for.

Takes measured rows; gives SVG. Does not write files.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from io import StringIO

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from components.evaluation.plots import FAINT, INK
from components.experiments.plan import Measured

MET, MISSED, ASKED = "#0f9d76", "#d9480f", "#7c5cbf"


def picture(title: str, rows: Sequence[Measured]) -> str:
    """SVG text; a figure that has a bar is green where it is met, else red."""
    units = list(dict.fromkeys(row.unit for row in rows))
    heights = [sum(row.unit == unit for row in rows) for unit in units]
    with rc_context({"font.size": 9, "svg.hashsalt": "qanat", "svg.fonttype": "path"}):
        figure = Figure(figsize=(9.5, 1.0 + 0.42 * len(rows) + 0.5 * len(units)), layout="constrained")
        FigureCanvasSVG(figure)
        grid = figure.subplots(max(len(units), 1), 1, squeeze=False, gridspec_kw={"height_ratios": heights or [1]})
        for axis, unit in zip(grid[:, 0], units, strict=False):
            _panel(axis, unit, [row for row in rows if row.unit == unit])
        figure.suptitle(textwrap.fill(title, 110), fontsize=10, color=INK)
        out = StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _panel(axis: Axes, unit: str, rows: Sequence[Measured]) -> None:
    for place, row in enumerate(reversed(rows)):
        colour = FAINT if row.bar is None else (MET if meets(row) else MISSED)
        axis.plot([row.low, row.high], [place, place], color=colour, lw=2)
        axis.plot([row.value], [place], "o", color=colour, ms=5)
        if row.bar is not None:
            axis.plot([_bound(row.bar)[2]], [place], "|", color=ASKED, ms=14, mew=2)
    axis.set_yticks(range(len(rows)), [textwrap.fill(row.measure, 58) for row in reversed(rows)], fontsize=8)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlabel(unit or "share", fontsize=8)
    axis.grid(axis="x", color="#e4e7eb")


def meets(row: Measured) -> bool:
    """Whether the bar is met: by the value, or by its whole interval where it says so; True where none was asked."""
    if row.bar is None:
        return True
    whole, sign, bound = _bound(row.bar)
    least, most = (row.low, row.high) if whole else (row.value, row.value)
    met = {">=": least >= bound, "<=": most <= bound, ">": least > bound, "<": most < bound}
    return met.get(sign, least == most == bound)


def _bound(bar: str) -> tuple[bool, str, float]:
    found = re.fullmatch(r"(interval )?(?:(>=|<=|>|<) )?(-?[0-9.]+(?:e-?[0-9]+)?)", bar)
    if found is None:
        raise ValueError(f"a bar reads '>= 4', '<= 0.5', '0' or 'interval > 0', not {bar!r}")
    return found[1] is not None, found[2] or "", float(found[3])
