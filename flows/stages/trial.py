"""Search and its rivals on held-out problems. No stage of the DAG: experiments run it after the stages of a variant.

Takes data/models/reinforced (and base), data/problems and data/corpus; gives data/reports/trial. The policy is the one
that self-play searched with. Heads value states, never the likelihood of the reference, which knows the answer: they
are fitted here to trees of train problems. Computes nothing itself but seconds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from components.records.atomic import write_json
from components.records.jsonl import write_records
from components.records.manifest import verify_manifest
from components.records.problems import read_problems
from components.rollout.plain_loop import plain_loop
from components.schema.identity import child_seed
from components.schema.problem import Problem, Split
from components.search import trial
from components.search.selfplay import pick_problems
from components.search.settings import Family, SelfplaySettings
from components.search.verbs import Verbs
from components.tools.composite import composite_specs, offered
from components.tools.settings import CompositeSettings
from flows.shared.acting import Actor, open_actor
from flows.shared.foresight import learn_from_trees
from flows.shared.searching import open_verbs
from flows.shared.stage import StageRun, stage_run

STAGE = "trial"
PER_FAMILY = 30
"""Held-out problems of each family, fewer where there are not so many."""
TAUGHT, CHOSEN = 48, 16
"""Train problems of each family whose trees teach the value heads, and further ones that tell how many simulations a
search needs that stops dead ends."""
SEARCHED: tuple[Family, ...] = ("puzzle", "two_hop")
SPLIT: tuple[Family, ...] = ("two_hop", "fact_compute")
"""Families whose problems consist of several."""
SPLITTING = CompositeSettings(tools=("split", "give_up"))
SPLIT_DEPTH = 8
"""Sub-tasks take turns of their own."""
LOCKSTEP = 16
"""Trees of the timed lockstep, against one alone."""


def main() -> None:
    """Try, time and write."""
    with stage_run(STAGE) as run:
        model = run.paths.model("reinforced")
        settings = run.params.selfplay.model_copy(update={"seed": child_seed(run.seed, STAGE), "value": "even"})
        with open_actor(run.paths, run.params, model, policy_id=verify_manifest(model)) as actor:
            verbs, below = _foreseeing(run, actor, settings, model)
            attempts, figures = _against_sampling(run, verbs, settings, below=below)
            attempts += _splitting(run, verbs, settings)
            figures |= _speed(run, verbs, settings)
        attempts += _untrained_loop(run, verbs, settings)
        run.paths.trial_attempts.parent.mkdir(parents=True, exist_ok=True)
        write_records(run.paths.trial_attempts, attempts)
        write_json(run.paths.trial_figures, figures)


def _foreseeing(run: StageRun, actor: Actor, settings: SelfplaySettings, model: Path) -> tuple[Verbs, float]:
    """The verbs with heads that trees of train problems taught, and the p-hat below which a state is a dead end."""
    also = composite_specs(SPLITTING.tools)
    verbs = open_verbs(actor, settings, model, also=also)
    trees = trial.grown(_problems(run, settings, SEARCHED, "train", TAUGHT), verbs, settings)
    learnt = learn_from_trees(actor, trees, settings, run.params.reinforce.critic, also=also)
    run.progress(1, 5)
    if learnt is None:
        return verbs, 0.0
    return open_verbs(actor, settings, model, also=also, heads=learnt.heads), learnt.threshold


def _problems(
    run: StageRun, settings: SelfplaySettings, families: tuple[Family, ...], split: Split, each: int = PER_FAMILY
) -> list[Problem]:
    asked = settings.model_copy(update={"families": families, "problems": each * len(families)})
    return list(pick_problems(read_problems(run.paths.problems(split)), asked, split=split))


def _against_sampling(
    run: StageRun, verbs: Verbs, settings: SelfplaySettings, *, below: float
) -> tuple[list[trial.Attempt], dict[str, float]]:
    problems = _problems(run, settings, SEARCHED, "test")
    trees = trial.grown(problems, verbs, settings)
    attempts = [
        *trial.searched("search", trees, verbs),
        *trial.greedy(trees, verbs, settings),
        *trial.sampled(trees, verbs, settings),
        *trial.ceiling(problems, verbs.judge),
    ]
    run.progress(2, 5)
    taught = {problem.problem_id for problem in _problems(run, settings, SEARCHED, "train", TAUGHT)}
    more = _problems(run, settings, SEARCHED, "train", TAUGHT + CHOSEN)
    further = [problem for problem in more if problem.problem_id not in taught]
    enough = trial.simulations_needed(further, verbs, settings, below=below)
    stopped, figures = trial.stopped(problems, verbs, settings, below=below, simulations=enough)
    run.progress(3, 5)
    return [*attempts, *stopped], figures


def _splitting(run: StageRun, verbs: Verbs, settings: SelfplaySettings) -> list[trial.Attempt]:
    """The same problems and limits with no split on offer, one up front, or one at any time."""
    problems, deep = _problems(run, settings, SPLIT, "test"), settings.model_copy(update={"max_depth": SPLIT_DEPTH})
    static = SPLITTING.model_copy(update={"splitting": "static"})
    arms = {
        "flat": [replace(offered(problem, SPLITTING), tool_names=problem.tool_names) for problem in problems],
        "static": [offered(problem, static) for problem in problems],
        "dynamic": [offered(problem, SPLITTING) for problem in problems],
    }
    found = []
    for arm, posed in arms.items():
        found += trial.searched(arm, trial.grown(posed, verbs, deep), verbs)
    run.progress(4, 5)
    return found


def _speed(run: StageRun, verbs: Verbs, settings: SelfplaySettings) -> dict[str, float]:
    """Simulations a second of the same trees in lockstep and one after the other."""
    problems = _problems(run, settings, SEARCHED, "test")[:LOCKSTEP]
    rates = {}
    for trees in (LOCKSTEP, 1):
        started = time.monotonic()
        done = trial.simulations(trial.grown(problems, verbs, settings.model_copy(update={"trees": trees})))
        rates[f"simulations_per_second_{'lockstep' if trees > 1 else 'alone'}"] = done / (time.monotonic() - started)
    return rates


def _untrained_loop(run: StageRun, verbs: Verbs, settings: SelfplaySettings) -> Sequence[trial.Attempt]:
    """The base model down a task stack with plain prompts, on the problems that were searched."""
    base, problems = run.paths.model("base"), _problems(run, settings, SEARCHED, "test")
    with open_actor(run.paths, run.params, base, policy_id=verify_manifest(base)) as actor:
        plays = plain_loop(actor.policy, problems, actor.toolbox, seed=settings.seed)
    run.progress(5, 5)
    return trial.played("loop", problems, plays, verbs)


if __name__ == "__main__":
    main()
