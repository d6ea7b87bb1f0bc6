"""The report of an evaluation: one self-contained HTML page, and rows for a terminal table.

Takes a `Report`, sample trajectories and the step metrics of reinforcement; gives text (everything that comes from data
is escaped). Does not compute metrics and does not choose samples.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from components.evaluation import plots, wording
from components.evaluation.metrics import METRICS, Metric
from components.evaluation.oracle import NOTHING_HELPS
from components.evaluation.policies import COMPARISONS, TRAINED, meaning_of
from components.evaluation.samples import SampleView
from components.evaluation.summary import Confusion, Report
from components.records.atomic import write_text
from components.schema.report import Interval

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_ACCURACY, _COST_PER_CORRECT = "eval/accuracy", "eval/cost_per_correct"
_STEP_BEFORE = dict(COMPARISONS)


@dataclass(frozen=True, slots=True)
class Card:
    """One figure at the top of the page."""

    what: str
    figure: str
    range: str
    tone: str = ""


def write_html(
    path: Path | str,
    report: Report,
    samples: Sequence[SampleView],
    reward_steps: Sequence[Mapping[str, Any]] = (),
    *,
    sampled_policy: str = "final",
) -> None:
    """Put the page at `path`, all or nothing."""
    write_text(path, render_html(report, samples, reward_steps, sampled_policy=sampled_policy))


def render_html(
    report: Report,
    samples: Sequence[SampleView],
    reward_steps: Sequence[Mapping[str, Any]] = (),
    *,
    sampled_policy: str = "final",
) -> str:
    """The page as text."""
    reward = plots.reward_parts(reward_steps)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        report=report,
        cards=_cards(report),
        metrics=METRICS,
        labels=wording.LABELS,
        meaning_of=meaning_of,
        trained=[play.policy for play in TRAINED],
        frontier=_image(plots.accuracy_against_cost(report.reports)),
        confusions=[_grid(confusion) for confusion in report.confusions],
        slices=_slice_rows(report),
        reward=_image(reward) if reward else None,
        samples=samples,
        sampled_policy=sampled_policy,
        sample_slices=sorted({name for sample in samples for name in sample.slices}),
        figure=wording.figure,
        bounds=wording.bounds,
        difference=wording.difference,
        difference_bounds=wording.difference_bounds,
        tone=_tone,
    )


def terminal_table(report: Report) -> list[list[str]]:
    """Header and one row a policy: name, then each metric as `figure [low to high]`."""
    header = ["Policy", *(wording.LABELS[metric.name] for metric in METRICS)]
    rows = [[row.policy, *(_terminal_cell(metric, row.metrics) for metric in METRICS)] for row in report.reports]
    return [header, *rows]


def difference_lines(report: Report) -> list[str]:
    """One line a comparison for the terminal: accuracy and cost per correct answer with intervals."""
    return [
        f"{row.challenger} - {row.baseline}: "
        + "; ".join(
            f"{wording.LABELS[name].removesuffix(', %').lower()} {wording.difference(name, row.differences[name])}"
            f" [{wording.difference_bounds(name, row.differences[name])}]"
            for name in (_ACCURACY, _COST_PER_CORRECT)
            if name in row.differences
        )
        for row in report.comparisons
    ]


def _terminal_cell(metric: Metric, metrics: Mapping[str, Interval]) -> str:
    found = metrics.get(metric.name)
    text = wording.figure(metric.name, found)
    return text if found is None else f"{text} [{wording.bounds(metric.name, found)}]"


def _cards(report: Report) -> list[Card]:
    trained = [play.policy for play in TRAINED]
    last = next((row for row in reversed(report.reports) if row.policy in trained), None)
    cards = []
    if last is not None:
        for name, what in ((_ACCURACY, "accuracy, %"), (_COST_PER_CORRECT, "cost per correct answer")):
            found = last.metrics.get(name)
            cards.append(Card(f"{last.policy}: {what}", wording.figure(name, found), wording.bounds(name, found)))
    for row in report.comparisons[:2]:
        metric, found = METRICS[0], row.differences.get(_ACCURACY)
        if found is not None:
            cards.append(
                Card(
                    f"{row.challenger} against {row.baseline}",
                    wording.difference(metric.name, found),
                    wording.difference_bounds(metric.name, found),
                    _tone(metric, found),
                )
            )
    return cards


def _tone(metric: Metric, found: Interval | None) -> str:
    """CSS classes of a difference: bold and coloured only when clear of zero."""
    direction = wording.clear_of_zero(found)
    if direction == 0:
        return ""
    return "clear up" if (direction > 0) == (metric.better == "higher") else "clear down"


def _grid(confusion: Confusion) -> dict[str, Any]:
    columns = list(dict.fromkeys(taken for row in confusion.counts.values() for taken in row))
    rows = []
    for best, row in confusion.counts.items():
        total = sum(row.values())
        cells = [
            {"count": row.get(taken, 0), "share": row.get(taken, 0) / total if total else 0.0, "right": taken == best}
            for taken in columns
        ]
        rows.append({"best": "none helps" if best == NOTHING_HELPS else best, "cells": cells})
    return {"policy": confusion.policy, "columns": columns, "rows": rows}


def _slice_rows(report: Report) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(name for row in report.reports for name in row.by_slice))
    changes = {(row.challenger, name): found for row in report.comparisons for name, found in row.differences.items()}
    rows = []
    for name in sorted(names):
        found = {row.policy: row.by_slice.get(name, {}).get(_ACCURACY) for row in report.reports}
        cells = [
            _slice_cell(value, policy, changes.get((policy, f"slice/{name}/accuracy")))
            for policy, value in found.items()
        ]
        rows.append({"name": name, "n": max((value.n for value in found.values() if value), default=0), "cells": cells})
    return rows


def _slice_cell(value: Interval | None, policy: str, change: Interval | None) -> dict[str, Any]:
    title = ""
    if change is not None:
        words = wording.difference(_ACCURACY, change), wording.difference_bounds(_ACCURACY, change)
        title = f"{words[0]} against {_STEP_BEFORE[policy]} ({words[1]})"
    return {
        "figure": wording.figure(_ACCURACY, value),
        "range": wording.bounds(_ACCURACY, value),
        "mark": wording.clear_of_zero(change),
        "title": title,
    }


def _image(svg: str) -> str:
    return "data:image/svg+xml;base64," + b64encode(svg.encode("utf-8")).decode("ascii")
