"""Lines of an experiment in one plane: accuracy over cost, or a rate over steps. Takes named series; gives SVG text.
Computes nothing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from io import StringIO

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from components.evaluation.plots import GRID, INK

Point = tuple[float, float, str]
"""x, y, and what is written beside it; empty for nothing."""


def curves(title: str, series: Mapping[str, Sequence[Point]], *, across: str, up: str) -> str:
    """One line a series, through its points in their order; `across` and `up` name the axes."""
    with rc_context({"font.size": 9, "svg.hashsalt": "qanat", "svg.fonttype": "path"}):
        figure = Figure(figsize=(8.4, 4.7), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for name, points in series.items():
            axes.plot([x for x, _, _ in points], [y for _, y, _ in points], marker="o", ms=4, lw=1.4, label=name)
            for x, y, said in points:
                axes.annotate(said, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8, color=INK)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.grid(color=GRID)
        axes.legend(frameon=False)
        figure.suptitle(textwrap.fill(title, 100), fontsize=10, color=INK)
        out = StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
