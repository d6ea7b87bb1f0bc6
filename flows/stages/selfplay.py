"""Stage `selfplay`: the reinforced model searches train problems; every node and the best solutions are written.

Takes data/models/reinforced, data/problems/train.jsonl and data/corpus; gives data/selfplay. Computes nothing itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial

from components.environment.step import step_many
from components.policy.heads import read_values
from components.policy.policy import Policy
from components.policy.propose import Proposer, make_propose
from components.records.atomic import write_json, write_text
from components.records.jsonl import write_records
from components.records.manifest import verify_manifest
from components.records.problems import read_problems
from components.reward.checkers import check
from components.rollout import rollout
from components.schema.identity import child_seed, stable_hash
from components.schema.problem import Problem
from components.search.page import pages
from components.search.rows import Provenance, content_hash
from components.search.selfplay import Found, join, missing_blocks, pick_problems, search_block, selfplay, tree_name
from components.search.settings import SelfplaySettings
from components.search.store import load_tree, save_tree, write_nodes
from components.search.summary import summarise
from components.search.verbs import Verbs
from components.search.worth import Value, uninformed, worth_by
from flows.shared.acting import Actor, open_actor
from flows.shared.crew import deal
from flows.shared.environ import Parallel, parallel
from flows.shared.inputs import dvc_hash
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.stage import StageRun, stage_run

STAGE = "selfplay"


def main() -> None:
    """Search, block by block, and write what was found."""
    with stage_run(STAGE) as run:
        settings = run.params.selfplay.model_copy(
            update={"seed": child_seed(run.seed, STAGE, run.params.selfplay.seed)}
        )
        provenance = Provenance(verify_manifest(run.paths.model("reinforced")), _data_digest(run))
        crew = parallel()
        if crew is not None:
            _search_by(crew, run, settings, provenance)
        with open_actor(
            run.paths, run.params, run.paths.model("reinforced"), policy_id=provenance.model_digest
        ) as actor:
            found = _search(run, actor, settings, provenance)
        _write(run, found, settings, provenance)


def _search_by(crew: Parallel, run: StageRun, settings: SelfplaySettings, provenance: Provenance) -> None:
    """Let a crew search the blocks; the trees of each are saved as soon as it is done, and `_search` reads them."""
    problems = pick_problems(read_problems(run.paths.problems("train")), settings)
    blocks = missing_blocks(problems, settings, provenance=provenance, load_tree=partial(load_tree, run.work))
    finished = 0

    def done(place: int, block: Sequence[Found]) -> None:
        nonlocal finished
        finished += 1
        for problem, found in zip(blocks[place], block, strict=True):
            save_tree(run.work, tree_name(problem, settings, provenance), found)
        run.progress(finished, len(blocks), f"{crew.workers} workers")

    open_work = partial(open_search, run.paths, settings, provenance)
    deal(open_work, blocks, parallel=crew, threads=run.params.policy.threads, done=done)


@contextlib.contextmanager
def open_search(
    paths: Paths, settings: SelfplaySettings, provenance: Provenance
) -> Iterator[Callable[[Sequence[Problem]], list[Found]]]:
    """What a worker searches blocks with."""
    params = load_params(paths)
    with open_actor(paths, params, paths.model("reinforced"), policy_id=provenance.model_digest) as actor:
        verbs = _verbs(paths, actor, settings)
        yield lambda block: search_block(block, verbs, settings, provenance)


def _search(run: StageRun, actor: Actor, settings: SelfplaySettings, provenance: Provenance) -> Found:
    problems = pick_problems(read_problems(run.paths.problems("train")), settings)
    parts: list[Found] = []
    for found in selfplay(
        problems,
        _verbs(run.paths, actor, settings),
        settings,
        provenance=provenance,
        load_tree=partial(load_tree, run.work),
        save_tree=partial(save_tree, run.work),
    ):
        parts.append(found)
        if len(parts) % settings.trees == 0:
            run.log_metrics(summarise([row for part in parts[-settings.trees :] for row in part.rows]))
        run.progress(len(parts), len(problems))
    whole = join(parts)
    _write_pages(run, whole, {problem.problem_id: problem for problem in problems})
    return whole


def _verbs(paths: Paths, actor: Actor, settings: SelfplaySettings) -> Verbs:
    delegate = partial(rollout, actor.policy, toolbox=actor.toolbox, seed=settings.seed)
    proposer = make_propose(actor.policy, actor.toolbox.specs(), settings)
    return Verbs(
        propose=proposer,
        value=_value(paths, actor, proposer, settings),
        judge=check,
        step_many=partial(step_many, toolbox=actor.toolbox, delegate=delegate),
        units=actor.prices.units,
        forget=actor.policy.forget,
    )


def _value(paths: Paths, actor: Actor, proposer: Proposer, settings: SelfplaySettings) -> Value:
    """What states are worth: by the model's value heads, where it has some and runs here (a server shows no states)."""
    policy = actor.policy
    if settings.value == "likelihood":
        return worth_by(proposer.likelihoods)
    if not isinstance(policy, Policy):
        return uninformed
    heads = read_values(paths.model("reinforced"), features=int(policy.model.config.hidden_size))
    return worth_by(proposer.values_by(policy, heads)) if heads is not None else uninformed


def _write_pages(run: StageRun, found: Found, problems: Mapping[str, Problem]) -> None:
    for tree_id, page in pages(found.rows, problems):
        write_text(run.paths.selfplay_pages / f"{tree_id}.html", page)
    run.log_artifact(run.paths.selfplay_pages)


def _write(run: StageRun, found: Found, settings: SelfplaySettings, provenance: Provenance) -> None:
    metrics = summarise(found.rows, settings.families)
    write_nodes(run.paths.selfplay_nodes, found.rows)
    write_records(run.paths.selfplay_trajectories, found.trajectories)
    write_json(
        run.paths.selfplay_summary, {"metrics": metrics, "content_hash": content_hash(found.rows), **asdict(provenance)}
    )
    run.log_metrics(metrics)
    run.log_dataset(run.paths.selfplay, context=f"{STAGE} output")


def _data_digest(run: StageRun) -> str:
    files = [dvc_hash(run.paths.problems("train")), dvc_hash(run.paths.passages)]
    return stable_hash([*files, run.params.tools.model_dump(mode="json"), run.params.prices.model_dump(mode="json")])


if __name__ == "__main__":
    main()
