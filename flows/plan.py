"""`qanat plan`: what a retrain would take, from the unit costs in `infra/unit_costs.json`.

Takes the project's paths and what is asked; gives lines for a person. `measure` adds the runs of stages that made what
is on disk now (their MLflow runs and the sizes of their outputs) to the table. Runs nothing but one matrix product, to
know the machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from components.capacity.catalogue import EFFICIENCY, GPUS, MODELS
from components.capacity.costs import MeasuredRun, StageCost, unit_costs
from components.capacity.predict import Asked, Hardware, Plan
from components.capacity.predict import predict as predict_plan
from components.capacity.work import Recipe, grown, work_of
from components.policy.settings import PolicySettings
from components.records.atomic import write_json
from components.records.codec import from_json, to_json
from flows.shared import graph
from flows.shared.faults import UserFault
from flows.shared.machine import machine
from flows.shared.params import Params, load_params
from flows.shared.paths import Paths
from flows.shared.registry import Registry
from flows.shared.registry_settings import load_registry_settings

Thing = TypeVar("Thing")
CONTEXT_TOKENS = 1024
"""Of a sequence while it is decoded."""
PRODUCT = 2048
"""Rows and columns of the matrices that the machine's rate is measured with."""


@dataclass(frozen=True, slots=True)
class Table:
    """What `infra/unit_costs.json` holds."""

    machine: str
    machine_flops: float
    """Of its bf16 matrix product, operations a second."""
    runs: tuple[MeasuredRun, ...]


def measure(paths: Paths) -> Iterator[str]:
    """Put the run that made what is on disk into the table, in place of one of the same profile and commit."""
    params, settings = load_params(paths), load_registry_settings(paths)
    if params.generations.earlier:
        raise UserFault("params.yaml: generations.earlier: unit costs are measured on a run of one generation")
    registry = Registry(paths, experiment=settings.experiment, model=settings.model)
    work, stages, commits = work_of(_recipe(params)), {}, []
    for stage in graph.stage_names(paths.root):
        ref = paths.run_ref(stage)
        if not ref.is_file():
            raise UserFault(f"stage {stage} left no {ref.relative_to(paths.root)}: `qanat run` first")
        known = json.loads(ref.read_text(encoding="utf-8"))
        seconds = registry.run_seconds(known["mlflow_run_id"])
        if known["profile"] != params.profile or seconds is None:
            raise UserFault(f"stage {stage} was not run with profile {params.profile}, or its MLflow run is gone")
        outputs = [paths.root / out for out in graph.stage_definition(paths.root, stage).get("outs", ())]
        stages[stage] = StageCost(work.get(stage, 0), round(seconds, 1), float(sum(map(_bytes, outputs))))
        commits.append(known["git_sha"][:12])
    run = MeasuredRun(f"{params.profile} {commits[-1]}", _parameters(paths), stages)
    before = _read(paths).runs if _file(paths).is_file() else ()
    runs = (*(one for one in before if one.name != run.name), run)
    write_json(_file(paths), to_json(Table(machine(), _matrix_rate(params.policy), runs)))
    yield f"infra/unit_costs.json: {', '.join(one.name for one in runs)}"


def predict(paths: Paths, problems: float | None, model: str, gpus: int, gpu: str) -> Iterator[str]:
    """The prediction, a line a stage."""
    params, table = load_params(paths), _read(paths)
    size, kind = _known(MODELS, model, "--model"), _known(GPUS, gpu, "--gpu")
    if problems is not None and problems < 1:
        raise UserFault(f"--problems: must be at least 1, is {problems:g}")
    recipe = _recipe(params) if problems is None else grown(_recipe(params), round(problems))
    asked = Asked(
        work=work_of(recipe),
        model=size,
        measured_parameters=table.runs[-1].parameters,
        trained_share=min(1.0, params.reinforce.trained_layers / MODELS["135m"].layers),
        slots=params.policy.slots,
        context_tokens=CONTEXT_TOKENS,
    )
    hardware = Hardware(gpus, kind, table.machine_flops)
    plan = predict_plan(unit_costs(table.runs), asked, hardware)
    where = f"{gpus} x {gpu}" if gpus else f"a machine like {table.machine}"
    yield f"{recipe.curate.train_size} train problems, a model of {model}, on {where}"
    yield from _stage_lines(plan)
    yield f"memory     {plan.memory / 1e9:.1f} GB for a process that trains"
    yield f"storage    {plan.stored / 1e9:.2f} GB of outputs"
    yield f"money      {plan.money:,.2f} for GPUs"
    yield f"saturates  {plan.saturates}"
    yield f"from       {len(table.runs)} measured runs ({', '.join(run.name for run in table.runs)})"
    if gpus:
        yield f"assumed    {EFFICIENCY:.0%} of the GPU's rate on its data sheet; nothing was measured on GPUs"


def validation(paths: Paths) -> Iterator[str]:
    """Each measured run predicted from the others."""
    table = _read(paths)
    if len(table.runs) < 2:
        raise UserFault("infra/unit_costs.json has one run: `qanat plan --measure` after a run of another profile")
    for held in table.runs:
        costs = unit_costs([run for run in table.runs if run is not held])
        yield f"{held.name}, from the {len(table.runs) - 1} others"
        measured, predicted = 0.0, 0.0
        for stage, cost in held.stages.items():
            expected = costs[stage].seconds(cost.work)
            measured, predicted = measured + cost.seconds, predicted + expected
            yield f"  {stage:<10}{cost.seconds:>9.1f} s measured {expected:>9.1f} s predicted"
        off = f"({predicted / measured - 1:+.0%})"
        yield f"  {'whole':<10}{measured:>9.1f} s measured {predicted:>9.1f} s predicted {off}"


def _stage_lines(plan: Plan) -> Iterator[str]:
    for one in plan.stages:
        yield f"  {one.stage:<10}{_duration(one.seconds):>12}  on {one.workers}   {one.stored / 1e9:.2f} GB"
    yield f"time       {_duration(plan.seconds)}"


def _duration(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3600:,.1f} h"


def _bytes(path: Path) -> int:
    """Of a file, or of all files in a folder; 0 where there is neither."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _recipe(params: Params) -> Recipe:
    rounds = 1 + len(params.generations.earlier)
    return Recipe(
        params.curate, params.clone, params.reinforce, params.selfplay, params.distil, params.evaluate, rounds
    )


def _parameters(paths: Paths) -> float:
    """Of the base model: its weights are bf16, two bytes each."""
    return sum(file.stat().st_size for file in paths.model("base").glob("*.safetensors")) / 2


def _matrix_rate(settings: PolicySettings) -> float:
    """Operations a second of a matrix product on this machine, the best of five, in the type that models compute in.

    By the processors' time, not the clock's: what else runs here does not count.
    """
    import torch

    from components.policy.load import compute_dtype

    left = torch.randn(PRODUCT, PRODUCT, dtype=compute_dtype(settings))
    fastest = min(_processor_seconds(lambda: left @ left) for _ in range(5))
    return 2 * PRODUCT**3 * torch.get_num_threads() / fastest


def _processor_seconds(work: Callable[[], object]) -> float:
    """Of all threads together."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _file(paths: Paths) -> Path:
    return paths.root / "infra" / "unit_costs.json"


def _read(paths: Paths) -> Table:
    try:
        return from_json(Table, json.loads(_file(paths).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserFault("there is no infra/unit_costs.json: `qanat plan --measure` after a run makes it") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserFault(f"infra/unit_costs.json: {error}") from None


def _known(things: Mapping[str, Thing], name: str, option: str) -> Thing:
    if name not in things:
        raise UserFault(f"{option}: must be one of {', '.join(things)}, is {name!r}")
    return things[name]
