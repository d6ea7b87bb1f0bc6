"""What a person reads after a run.

Takes the project's paths; gives lines, or a table on the terminal; computes nothing.
"""

from __future__ import annotations

import json

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from components.evaluation.report import difference_lines, terminal_table
from components.evaluation.summary import Report
from components.records.codec import from_json
from flows.shared import graph
from flows.shared.decisions import read_decision
from flows.shared.faults import UserFault
from flows.shared.paths import Paths
from flows.shared.promoting import drift, open_desk

WIDE = 92
ONLY_WIDE = frozenset({"Decision regret", "Utility"})
"""Columns that a narrow terminal (80 columns) has no room for; the report has them."""


def print_policies(paths: Paths) -> None:
    """The table of policies of the last evaluation, where there is one."""
    if not paths.evaluation_report.is_file():
        return
    report = from_json(Report, json.loads(paths.evaluation_report.read_text(encoding="utf-8")))
    header, *rows = terminal_table(report)
    console = Console()
    shown = [place for place, name in enumerate(header) if console.width >= WIDE or name not in ONLY_WIDE]
    table = Table(
        title=f"{report.problems} test problems; the other intervals are in the report",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for place in shown:
        table.add_column(header[place], no_wrap=place < 2, justify="left" if place < 2 else "right", overflow="fold")
    for policy, accuracy, *others in rows:
        cells = [policy, accuracy, *(cell.partition(" [")[0] for cell in others)]
        table.add_row(*(cells[place] for place in shown))
    console.print(table)
    for line in difference_lines(report):
        console.print(line, markup=False, highlight=False)


def promoted_lines(paths: Paths) -> list[str]:
    """The last decision, and who is champion."""
    desk = open_desk(paths)
    champion, moved, decision = desk.champion(), drift(desk), read_decision(paths)
    lines = [f"Drift: {moved}"] if moved is not None else []
    if decision is not None:
        verdict = decision.gate
        lines.append(f"Gate: {verdict.decision} ({verdict.challenger} against {verdict.champion}). {verdict.reason}")
    if champion is None:
        return [*lines, "Champion: none yet"]
    return [*lines, f"Champion: {desk.registry.model} version {champion.number}, weights {champion.digest[:12]}"]


def where_to_look(paths: Paths) -> list[str]:
    """Where the results are."""
    html = [f"Report:   {paths.evaluation_html}"] if paths.evaluation_html.is_file() else []
    return [*html, "Pages:    qanat ui", 'Try it:   qanat ask "What is the population of Chad?"']


def stage_lines(paths: Paths) -> list[str]:
    """One line a stage: up to date, or what changed."""
    changed = graph.changed_stages(paths.root)
    names = graph.stage_names(paths.root)
    return [f"{name:<12} {_short(changed.get(name))}" for name in names]


def explanation(paths: Paths, stage: str) -> list[str]:
    """Why `stage` would run now."""
    names = graph.stage_names(paths.root)
    if stage not in names:
        raise UserFault(f"dvc.yaml has no stage {stage!r} (it has {', '.join(names)})")
    changes = graph.changes_of(paths.root, stage)
    if not changes.any:
        return [f"{stage}: nothing changed, it would not run"]
    lines = [f"{stage}: {what} {path}" for path, what in {**changes.dependencies, **changes.outputs}.items()]
    return [*lines, f"{stage}: its command changed"] if changes.command else lines


def _short(changes: graph.Changes | None) -> str:
    if changes is None:
        return "up to date"
    what = [*changes.dependencies, *changes.outputs, *(["command"] if changes.command else [])]
    return f"would run: {', '.join(what[:3])}{' ...' if len(what) > 3 else ''} changed"
