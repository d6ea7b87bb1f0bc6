"""Stage `selfplay`: a model searches train problems; every node and the best solutions are written.

Takes the model that its generation starts from (`flows.shared.generations`; the reinforced one where there is one
generation only), data/problems/train.jsonl and data/corpus; gives data/selfplay, or data/generations/NAME for an
earlier generation. Computes nothing itself.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial

from components.policy.told_price import read_levels, spread_prices
from components.records.atomic import write_json, write_text
from components.records.jsonl import write_records
from components.records.manifest import verify_manifest
from components.records.problems import read_problems
from components.schema.identity import child_seed, stable_hash
from components.schema.problem import Problem
from components.search.page import pages
from components.search.rows import Provenance, content_hash
from components.search.selfplay import Found, join, missing_blocks, pick_problems, selfplay, tree_name
from components.search.settings import SelfplaySettings
from components.search.store import load_tree, save_tree, write_nodes
from components.search.summary import summarise
from components.search.verbs import Verbs
from flows.shared.acting import open_actor
from flows.shared.crew import deal
from flows.shared.environ import Parallel, parallel
from flows.shared.generations import Generation, generation, stage_of
from flows.shared.inputs import dvc_hash
from flows.shared.searching import open_search, open_verbs
from flows.shared.stage import StageRun, stage_run

STAGE = "selfplay"


def main(arguments: Sequence[str] = ()) -> None:
    """Search, block by block, and write what was found; `arguments`: the name of an earlier generation."""
    stage, name = stage_of(STAGE, arguments)
    with stage_run(stage) as run:
        mine = generation(run.params.generations, name)
        settings = run.params.selfplay.model_copy(
            update={"seed": child_seed(run.seed, stage, run.params.selfplay.seed)}
        )
        start = run.paths.model(mine.start)
        provenance = Provenance(verify_manifest(start), _data_digest(run))
        problems = _problems(run, settings, mine)
        crew = parallel()
        if crew is not None:
            _search_by(crew, run, problems, settings, mine, provenance)
        with contextlib.ExitStack() as held:

            def verbs() -> Verbs:
                actor = open_actor(run.paths, run.params, start, policy_id=provenance.model_digest)
                return open_verbs(held.enter_context(actor), settings, start)

            found = _search(run, verbs, problems, settings, mine, provenance)
        _write(run, found, settings, mine, provenance)


def _problems(run: StageRun, settings: SelfplaySettings, mine: Generation) -> tuple[Problem, ...]:
    told = spread_prices(read_problems(run.paths.problems("train")), read_levels(run.paths.model(mine.start)))
    return pick_problems(told, settings)


def _search_by(
    crew: Parallel,
    run: StageRun,
    problems: Sequence[Problem],
    settings: SelfplaySettings,
    mine: Generation,
    provenance: Provenance,
) -> None:
    """Let a crew search the blocks; the trees of each are saved as soon as it is done, and `_search` reads them."""
    blocks = missing_blocks(problems, settings, provenance=provenance, load_tree=partial(load_tree, run.work))

    def done(place: int, block: Sequence[Found]) -> None:
        for problem, found in zip(blocks[place], block, strict=True):
            save_tree(run.work, tree_name(problem, settings, provenance), found)

    deal(
        partial(open_search, run.paths, mine.start, settings, provenance),
        blocks,
        parallel=crew,
        threads=run.params.policy.threads,
        done=done,
        told=lambda count: run.progress(count, len(blocks), f"{crew.workers} workers"),
    )


def _search(
    run: StageRun,
    verbs: Callable[[], Verbs],
    problems: Sequence[Problem],
    settings: SelfplaySettings,
    mine: Generation,
    provenance: Provenance,
) -> Found:
    parts: list[Found] = []
    for found in selfplay(
        problems,
        verbs,
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
    _write_pages(run, mine, whole, {problem.problem_id: problem for problem in problems})
    return whole


def _write_pages(run: StageRun, mine: Generation, found: Found, problems: Mapping[str, Problem]) -> None:
    folder = run.paths.selfplay(mine.name).pages
    for tree_id, page in pages(found.rows, problems):
        write_text(folder / f"{tree_id}.html", page)
    run.log_artifact(folder)


def _write(run: StageRun, found: Found, settings: SelfplaySettings, mine: Generation, provenance: Provenance) -> None:
    metrics, paths = summarise(found.rows, settings.families), run.paths.selfplay(mine.name)
    write_nodes(paths.nodes, found.rows)
    write_records(paths.trajectories, found.trajectories)
    write_json(paths.summary, {"metrics": metrics, "content_hash": content_hash(found.rows), **asdict(provenance)})
    run.log_metrics(metrics)
    run.log_dataset(paths.folder, context=f"{run.stage} output")


def _data_digest(run: StageRun) -> str:
    files = [dvc_hash(run.paths.problems("train")), dvc_hash(run.paths.passages)]
    return stable_hash([*files, run.params.tools.model_dump(mode="json"), run.params.prices.model_dump(mode="json")])


if __name__ == "__main__":
    main(sys.argv[1:])
