"""What the training stages share: an encoder for a policy with its tools, progress with a rate, and the trained folder.

Takes a stage's run; gives helpers. Trains nothing itself.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from components.policy.constrained import ArgumentGrammars
from components.policy.load import kept_dtype, load_policy, round_weights, save_model
from components.policy.policy import Policy
from components.policy.told_price import Levels, spread_prices
from components.records.atomic import write_lines
from components.records.jsonl import read_records
from components.records.problems import read_problems
from components.schema.problem import Problem
from components.tools.spec import ToolSpec, by_name
from components.training.imitate import Report
from components.training.material import Encoder
from flows.shared.environ import beside
from flows.shared.model_folder import write_model
from flows.shared.stage import StageRun

SHOWN = ("loss/", "reward/")
"""Metrics that fit beside a progress bar; MLflow has them all."""


def curated_specs(run: StageRun) -> tuple[ToolSpec, ...]:
    """The tools that were open at curation."""
    return read_records(run.paths.tool_specs, ToolSpec)


def load_trainable(run: StageRun, folder: Path) -> Policy:
    """The model in `folder`, to be trained: always in torch, and said aloud when the parameters prefer a server."""
    settings = run.params.policy
    if settings.backend != "torch":
        run.say(f"policy.backend is {settings.backend}, which gives no gradients: this stage computes with torch")
    threads = max(1, settings.threads // beside())
    return load_policy(folder, settings.model_copy(update={"threads": threads}), policy_id=run.stage)


def open_encoder(policy: Policy, specs: Sequence[ToolSpec]) -> Encoder:
    """An encoder with the policy's tokenizer, for problems that offer some of these tools."""
    known = by_name(specs)

    def specs_of(names: Sequence[str]) -> tuple[ToolSpec, ...]:
        return tuple(known[name] for name in names)

    return Encoder(policy.chat, ArgumentGrammars(policy.chat, vocabulary=int(policy.model.config.vocab_size)), specs_of)


def train_problems(run: StageRun, levels: Levels = ()) -> dict[str, Problem]:
    """Train problems by id, told the prices that the model follows, if it does: each its own one in every stage."""
    problems = spread_prices(read_problems(run.paths.problems("train")), levels)
    return {problem.problem_id: problem for problem in problems}


def reporter(run: StageRun, total: int, also: Callable[[int, Mapping[str, float]], None] | None = None) -> Report:
    """Tells progress and logs the curves of every step."""
    started, first = time.monotonic(), [0]

    def report(step: int, metrics: Mapping[str, float]) -> None:
        first[0] = first[0] or step
        done = step - first[0] + 1
        seconds = (time.monotonic() - started) / done
        run.log_metrics({**metrics, "time/step_seconds": seconds}, step)
        shown = {name: value for name, value in metrics.items() if name.startswith(SHOWN)}
        run.progress(step, total, f"{seconds:.1f} s/step", shown)
        if also is not None:
            also(step, metrics)

    return report


def save_trained(run: StageRun, policy: Policy, name: str, also: Callable[[Path], None] = lambda folder: None) -> None:
    """Write the policy's weights, and what `also` puts beside them, as the model `name`; in one process of a team."""
    if not run.leads:
        return

    dtype = kept_dtype(run.params.policy)
    round_weights(policy.model, dtype)  # first: heads that `also` fits must meet the weights that will be read
    policy.refresh()

    def write(folder: Path) -> None:
        save_model(policy.model, policy.chat.tokenizer, folder, dtype=dtype)
        also(folder)

    write_model(run.paths.model(name), write)


class StepLog:
    """One line of metrics a step, complete and in order whatever was killed and repeated."""

    def __init__(self, scratch: Path) -> None:
        """`scratch` survives a kill and belongs to this stage alone."""
        self._scratch = scratch

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keep the metrics of a step."""
        self._scratch.parent.mkdir(parents=True, exist_ok=True)
        with self._scratch.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    def write(self, path: Path) -> None:
        """The whole log; of a step that was repeated after a kill, the last line counts."""
        rows: dict[int, str] = {}
        for line in self._scratch.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # the last line of a killed process
                rows[int(json.loads(line)["step"])] = line
        write_lines(path, [rows[step] for step in sorted(rows)])
