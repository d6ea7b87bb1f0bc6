"""The two plots of the report, as SVG text.

Takes a report or step metrics; gives SVG with the fonts drawn in, so that it looks the same everywhere. Does not
write files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from components.evaluation.policies import ORACLE
from components.schema.report import EvalReport

INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
COLOURS = {"base": "#9aa5b1", ORACLE: "#7c5cbf", "clone": "#2f7fd1", "reinforced": "#0f9d76", "final": "#d9480f"}
FORCED_COLOUR = "#616e7c"
_STYLE = {
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "svg.hashsalt": "qanat",
}
# Where a label may go, in points from its mark: near first, then farther with a leader line.
_OFFSETS = [
    (x * r, y * r)
    for r in (9, 16, 26, 38, 54)
    for x, y in ((1, 0.55), (1, -0.55), (-1, 0.55), (-1, -0.55), (0, 1), (0, -1))
]


@dataclass(frozen=True, slots=True)
class _Point:
    """One policy in the plane of cost and accuracy (per cent)."""

    name: str
    x: float
    y: float
    across: tuple[float, float]
    up: tuple[float, float]
    colour: str


def accuracy_against_cost(reports: Sequence[EvalReport]) -> str:
    """One point a policy with both intervals; labels do not cover each other."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 4.7), layout="constrained")
        axes = figure.add_subplot()
        points = [_point(axes, report) for report in reports if _plottable(report)]
        axes.set_xlabel("Cost per problem, units of the price sheet (lower is better)")
        axes.set_ylabel("Accuracy, %")
        axes.margins(x=0.09, y=0.1)
        _place_labels(figure, axes, points)
        return _svg(figure)


def reward_parts(steps: Sequence[Mapping[str, Any]]) -> str | None:
    """One small panel a reward part (and the call rate) over the steps of reinforcement; None without steps."""
    names = [name for name in _series_names(steps) if name.startswith("reward/") or name == "rollout/call_rate"]
    if not names:
        return None
    with rc_context(_STYLE):
        columns = min(2, len(names))
        rows = -(-len(names) // columns)
        figure = Figure(figsize=(8.4, 2.1 * rows), layout="constrained")
        for position, name in enumerate(names, start=1):
            _panel(figure.add_subplot(rows, columns, position), name, steps)
        return _svg(figure)


def _plottable(report: EvalReport) -> bool:
    return {"eval/accuracy", "eval/cost"} <= report.metrics.keys()


def _point(axes: Any, report: EvalReport) -> _Point:
    accuracy, cost = report.metrics["eval/accuracy"], report.metrics["eval/cost"]
    point = _Point(
        name=report.policy,
        x=cost.value,
        y=100 * accuracy.value,
        across=(cost.low, cost.high),
        up=(100 * accuracy.low, 100 * accuracy.high),
        colour=COLOURS.get(report.policy, FORCED_COLOUR),
    )
    bars = {"color": point.colour, "linewidth": 1.4, "alpha": 0.7, "solid_capstyle": "butt"}
    axes.plot(point.across, (point.y, point.y), **bars)
    axes.plot((point.x, point.x), point.up, **bars)
    marker = "D" if report.policy == ORACLE else "o"
    axes.plot(point.x, point.y, marker=marker, color=point.colour, markersize=7.5, markeredgecolor="white")
    return point


def _place_labels(figure: Figure, axes: Any, points: Sequence[_Point]) -> None:
    """Greedy: each label takes the first place that covers no mark and no label; the last place is taken as it is."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # measures text
    figure.draw_without_rendering()
    frame = axes.get_window_extent(renderer)
    taken = [box for point in points for box in _mark_boxes(axes, point)]
    for name, x, y, colour in ((point.name, point.x, point.y, point.colour) for point in points):
        for dx, dy in _OFFSETS:
            label = _label(axes, name, (x, y), (dx, dy), colour)
            box = label.get_window_extent(renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if (inside and not any(box.overlaps(other) for other in taken)) or (dx, dy) == _OFFSETS[-1]:
                taken.append(box)
                break
            label.remove()


def _label(axes: Any, name: str, at: tuple[float, float], offset: tuple[float, float], colour: str) -> Any:
    dx, dy = offset
    far = max(abs(dx), abs(dy)) > 12
    return axes.annotate(
        name,
        at,
        xytext=offset,
        textcoords="offset points",
        ha="center" if dx == 0 else "left" if dx > 0 else "right",
        va="bottom" if dy > 0 else "top",
        color=colour,
        fontweight="bold" if name in COLOURS else "normal",
        arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "alpha": 0.6} if far else None,
    )


def _mark_boxes(axes: Any, point: _Point) -> list[Bbox]:
    """The mark and its two interval bars, in pixels."""
    x, y = axes.transData.transform((point.x, point.y))
    left, right = (axes.transData.transform((edge, point.y))[0] for edge in point.across)
    bottom, top = (axes.transData.transform((point.x, edge))[1] for edge in point.up)
    return [
        Bbox.from_extents(x - 6, y - 6, x + 6, y + 6),
        Bbox.from_extents(left, y - 1, right, y + 1),
        Bbox.from_extents(x - 1, bottom, x + 1, top),
    ]


def _series_names(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for step in steps for name in step if name != "step"))


def _panel(axes: Any, name: str, steps: Sequence[Mapping[str, Any]]) -> None:
    known = [(step["step"], step[name]) for step in steps if "step" in step and isinstance(step.get(name), int | float)]
    xs, ys = np.asarray([x for x, _ in known], float), np.asarray([y for _, y in known], float)
    colour = {
        "reward/money": "#d9480f",
        "reward/time": "#b35c00",
        "reward/likelihood": "#7c5cbf",
        "reward/correct": "#0f9d76",
    }.get(name, "#2f7fd1")
    axes.plot(xs, ys, color=colour, alpha=0.28, linewidth=1)
    axes.plot(xs, _smooth(ys), color=colour, linewidth=2)
    axes.set_title(name, loc="left", fontsize=10, color=INK)
    axes.set_xlabel("step", fontsize=9)


def _smooth(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Running mean over a twentieth of the run, narrower at the ends."""
    half = max(1, len(values) // 40)
    return np.asarray([values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))])


def _svg(figure: Figure) -> str:
    text = StringIO()
    FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    return text.getvalue()
