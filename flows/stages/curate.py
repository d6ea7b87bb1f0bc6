"""Stage `curate`: problems and annotations become training material.

Takes corpus, annotations and base model; gives `data/problems/`, `data/demonstrations/`, the curation report and the
quarantine. What is kept and why is decided in `components.curation`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from components.curation.curate import CuratedData, curate
from components.curation.facts import read_facts
from components.curation.families import all_problems, select_problems
from components.curation.knownness import Ask
from components.policy.direct import ask_of, score_reference_of
from components.policy.load import load_policy
from components.policy.policy import Policy
from components.records.annotations import read_annotations
from components.records.atomic import write_json
from components.records.jsonl import read_records, write_records
from components.records.manifest import verify_manifest
from components.records.problems import write_problems
from components.records.quarantine import write_quarantine
from components.tools.composite import offered
from components.tools.open_toolbox import open_toolbox
from components.tools.prices import PriceSheet
from components.tools.search_index import Passage
from components.tools.spec import KNOWN_SPECS
from components.tools.toolbox import Toolbox
from flows.shared.stage import StageRun, stage_run

STAGE = "curate"
ASKED_AT_ONCE = 128


def main() -> None:
    """Ask, filter, write."""
    with stage_run(STAGE) as run:
        settings = run.params.curate
        pool = all_problems(read_facts(run.paths.facts), settings.split_seed)
        verify_manifest(run.paths.model("base"))
        policy = load_policy(run.paths.model("base"), run.params.policy, policy_id="base")
        with _toolbox(run, policy) as toolbox:
            data = curate(
                read_annotations(run.paths.annotations, tools=KNOWN_SPECS),
                [offered(problem, run.params.tools.composite) for problem in select_problems(pool, settings)],
                pool={problem.prompt: problem.split for problem in pool},
                settings=settings,
                ask=_told(run, ask_of(policy)),
                score_reference=score_reference_of(policy),
                toolbox=toolbox,
            )
        _write(run, data)


@contextmanager
def _toolbox(run: StageRun, policy: Policy) -> Iterator[Toolbox]:
    """The tools as the annotators had them."""
    settings = run.params.tools
    toolbox = open_toolbox(
        settings,
        PriceSheet(run.params.prices),
        read_records(run.paths.passages, Passage),
        cut=policy.chat.cut,
        clock=time.monotonic,
        engine=settings.annotation_engine,
    )
    try:
        yield toolbox
    finally:
        toolbox.close()


def _told(run: StageRun, ask: Ask) -> Ask:
    """`ask`, batch by batch, telling how far it is."""

    def asking(prompts: Sequence[str]) -> Sequence[str]:
        answers: list[str] = []
        for at in range(0, len(prompts), ASKED_AT_ONCE):
            run.progress(at, len(prompts), "the base model's own answers")
            answers += ask(prompts[at : at + ASKED_AT_ONCE])
        run.progress(len(prompts), len(prompts), "filtering annotations")
        return answers

    return asking


def _write(run: StageRun, data: CuratedData) -> None:
    paths = run.paths
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
