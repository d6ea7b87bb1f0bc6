"""Stage `curate`: problems and annotations become training material.

Takes corpus, annotations and base model; gives `data/problems/`, `data/demonstrations/`, the curation report and the
quarantine. What is kept and why is decided in `components.curation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from components.curation.curate import CuratedData, curate
from components.curation.facts import read_facts
from components.curation.families import all_problems, select_problems
from components.curation.knownness import Ask
from components.curation.own_problems import own_problems, with_own
from components.policy.direct import ask_of, score_reference_of
from components.policy.load import open_backend
from components.records.annotations import read_annotations
from components.records.atomic import write_json
from components.records.jsonl import write_records
from components.records.manifest import verify_manifest
from components.records.problems import write_problems
from components.records.quarantine import write_quarantine
from components.schema.problem import Problem
from components.schema.tool import ToolSpec
from components.tools.composite import offered
from flows.shared.own_data import read_own
from flows.shared.stage import StageRun, stage_run
from flows.shared.tools import open_tools

STAGE = "curate"
ASKED_AT_ONCE = 128


def main() -> None:
    """Ask, filter, write."""
    with stage_run(STAGE) as run:
        settings = run.params.curate
        pool = all_problems(read_facts(run.paths.facts), settings.split_seed)
        verify_manifest(run.paths.model("base"))
        policy = open_backend(run.paths.model("base"), run.params.policy, policy_id="base")
        own = read_own(run.paths, settings.sources)
        problems = with_own(select_problems(pool, settings), own_problems(own.problems, settings.split_seed))
        engine = run.params.tools.annotation_engine  # the tools as the annotators had them
        with open_tools(run.paths, run.params, cut=policy.chat.cut, engine=engine) as toolbox:
            specs = toolbox.specs()
            batch = read_annotations(run.paths.annotations, tools=specs)
            data = curate(
                replace(batch, rejects=(*own.rejects, *batch.rejects)),
                _offered(run, problems),
                pool={problem.prompt: problem.split for problem in pool},
                settings=settings,
                ask=_told(run, ask_of(policy)),
                score_reference=score_reference_of(policy, partial(run.progress, rate="filtering annotations")),
                toolbox=toolbox,
                tools=[spec.name for spec in specs],
            )
        _write(run, replace(data, problems=_offered(run, data.problems)), specs)


def _offered(run: StageRun, problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """The problems with the composite's calls to itself, as the parameters offer them; those of annotations, too."""
    return tuple(offered(problem, run.params.tools.composite) for problem in problems)


def _told(run: StageRun, ask: Ask) -> Ask:
    """`ask`, batch by batch, telling how far it is."""

    def asking(prompts: Sequence[str]) -> Sequence[str]:
        answers: list[str] = []
        for at in range(0, len(prompts), ASKED_AT_ONCE):
            run.progress(at, len(prompts), "the base model's own answers")
            answers += ask(prompts[at : at + ASKED_AT_ONCE])
        run.progress(len(prompts), len(prompts), "the base model's own answers")
        return answers

    return asking


def _write(run: StageRun, data: CuratedData, specs: Sequence[ToolSpec]) -> None:
    paths = run.paths
    write_records(paths.tool_specs, specs)
    for split in ("train", "validation", "test"):
        write_problems(paths.problems(split), [problem for problem in data.problems if problem.split == split])
    write_records(paths.demonstrations, data.demonstrations)
    write_records(paths.preferences, data.preferences)
    write_records(paths.pairs, data.pairs)
    write_records(paths.direct, data.direct)
    write_quarantine(paths.quarantine, data.rejects)
    write_json(paths.curation_report, data.report)
    run.log_metrics(
        {
            "curation/problems": len(data.problems),
            "curation/demonstrations": len(data.demonstrations),
            "curation/preferences": len(data.preferences),
            "curation/pairs": len(data.pairs),
            "curation/direct": len(data.direct),
            "curation/dropped": len(data.rejects),
        }
    )
    run.log_artifact(paths.curation_report)


if __name__ == "__main__":
    main()
