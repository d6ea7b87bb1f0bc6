"""The two plots of the report, as SVG text.

Takes a report or step metrics; gives SVG with the fonts drawn in, so that it looks the same everywhere. Does not
write files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

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


def accuracy_against_cost(reports: Sequence[EvalReport]) -> str:
    """One point a policy with both intervals; labels do not cover each other."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 4.6), layout="constrained")
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
        figure = Figure(figsize=(7.6, 2.1 * rows), layout="constrained")
        for position, name in enumerate(names, start=1):
            _panel(figure.add_subplot(rows, columns, position), name, steps)
        return _svg(figure)


def _plottable(report: EvalReport) -> bool:
    return {"eval/accuracy", "eval/cost"} <= report.metrics.keys()


def _point(axes: Any, report: EvalReport) -> tuple[str, float, float, str]:
    accuracy, cost = report.metrics["eval/accuracy"], report.metrics["eval/cost"]
    x, y = cost.value, 100 * accuracy.value
    colour = COLOURS.get(report.policy, FORCED_COLOUR)
    across = [[x - cost.low], [cost.high - x]]
    up = [[y - 100 * accuracy.low], [100 * accuracy.high - y]]
    axes.errorbar(x, y, xerr=across, yerr=up, color=colour, fmt="none", elinewidth=1.4, capsize=2.5, alpha=0.75)
    axes.plot(x, y, marker="D" if report.policy == ORACLE else "o", color=colour, markersize=7, markeredgecolor="white")
    return report.policy, x, y, colour


def _place_labels(figure: Figure, axes: Any, points: Sequence[tuple[str, float, float, str]]) -> None:
    """Greedy: each label takes the first place that covers no mark and no label; the last place is taken as it is."""
    canvas = FigureCanvasSVG(figure)
    figure.draw_without_rendering()
    renderer = canvas.get_renderer() if hasattr(canvas, "get_renderer") else figure._get_renderer()  # type: ignore[attr-defined]
    taken = [_mark_box(axes, x, y) for _, x, y, _ in points]
    frame = axes.get_window_extent(renderer)
    for name, x, y, colour in points:
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


def _mark_box(axes: Any, x: float, y: float) -> Any:
    centre = axes.transData.transform((x, y))
    box = axes.get_window_extent().frozen()
    half = 5.0
    box.x0, box.y0, box.x1, box.y1 = centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half
    return box


def _series_names(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for step in steps for name in step if name != "step"))


def _panel(axes: Any, name: str, steps: Sequence[Mapping[str, Any]]) -> None:
    known = [(step["step"], step[name]) for step in steps if "step" in step and isinstance(step.get(name), int | float)]
    xs, ys = np.asarray([x for x, _ in known], float), np.asarray([y for _, y in known], float)
    colour = {"reward/cost": "#d9480f", "reward/likelihood": "#7c5cbf", "reward/correct": "#0f9d76"}.get(
        name, "#2f7fd1"
    )
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
