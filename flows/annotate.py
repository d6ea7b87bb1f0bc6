"""The annotation page on loopback, over this project's records. Takes the project's paths; serves until Ctrl-C.

Another address is for containers, whose published port decides who may come: the page asks for no password, and answers
under loopback's names only. What is added is versioned and told to the Prefect server exactly as by `qanat annotations
add`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from components.annotation.agreement import Said, agreements, said_in
from components.annotation.app import make_app
from components.annotation.claims import Claims
from components.annotation.complaints import complaints
from components.annotation.evidence import all_cases
from components.annotation.remembered import Remembered, RememberedFiles
from components.annotation.selection import Ranked, rank
from components.annotation.workplace import Workplace
from components.records.annotations import annotation_files
from components.records.feedback import read_feedback
from components.records.intake import Added, Intake
from components.records.jsonl import read_records
from components.records.problems import read_problems
from components.schema.tool import ToolSpec
from components.schema.trajectory import Trajectory
from components.search.store import read_nodes
from components.tools.prices import PriceSheet
from flows.annotations import follow_up
from flows.shared.operations import load_operations
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.tools import specs_of_tools

LOOPBACK = "127.0.0.1"

_LOG = logging.getLogger("qanat.annotate")


def serve(paths: Paths, *, port: int | None, say: Callable[[str], None], host: str = LOOPBACK) -> None:
    """Serve until this process is told to stop."""
    chosen = load_operations(paths).ports.annotation if port is None else port
    app = open_app(paths)
    say(f"Annotate  http://{host}:{chosen}")
    uvicorn.run(app, host=host, port=chosen, log_level="warning", access_log=False)


def open_app(paths: Paths) -> FastAPI:
    """The application over this project's records."""
    return make_app(open_workplace(paths), after=lambda added: _follow_up(paths, added))


def open_workplace(paths: Paths) -> Workplace:
    """The queue made of what the stages and the server left, and the intake of this project."""
    tools, settings = specs_of_tools(paths, load_params(paths)), load_operations(paths).annotation
    said: RememberedFiles[tuple[Said, ...]] = RememberedFiles(said_in)
    return Workplace(
        queue=Remembered(lambda: _evidence_files(paths), lambda: _queue(paths, tools)),
        agreements=lambda: agreements(one for file in _annotation_files(paths) for one in said(file)),
        claims=Claims(paths.annotation_claims, seconds=settings.claim_seconds),
        intake=Intake(paths.annotations, paths.intake),
        tools=tools,
        clock=lambda: datetime.now(UTC),
        doubled=settings.doubled,
    )


def _evidence_files(paths: Paths) -> Iterator[Path]:
    yield from (paths.problems("train"), paths.selfplay().nodes, paths.rollouts, paths.feedback)


def _queue(paths: Paths, tools: tuple[ToolSpec, ...]) -> tuple[Ranked, ...]:
    train = paths.problems("train")
    problems = {problem.problem_id: problem for problem in read_problems(train)} if train.is_file() else {}
    said = read_feedback(paths.feedback)
    if said.unreadable:
        _LOG.warning(f"{paths.feedback}: {said.unreadable} lines are no feedback and are left out")
    cases = all_cases(
        problems,
        tools,
        rows=read_nodes(paths.selfplay().nodes) if paths.selfplay().nodes.is_file() else (),
        trajectories=read_records(paths.rollouts, Trajectory) if paths.rollouts.is_file() else (),
        feedback=complaints(said.rows),
        units=PriceSheet(load_params(paths).prices).units,
    )
    return rank(cases)


def _annotation_files(paths: Paths) -> list[Path]:
    return annotation_files(paths.annotations) if paths.annotations.is_dir() else []


def _follow_up(paths: Paths, added: Added) -> None:
    for line in follow_up(paths, added):
        _LOG.warning(line)
