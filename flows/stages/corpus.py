"""Stage `corpus`: the Factbook as passages and facts.

Takes the installed Factbook and the section `corpus`; gives `data/corpus/`. It builds no index and makes no problems.
"""

from __future__ import annotations

from components.curation.corpus import make_corpus
from components.records.atomic import write_json
from components.records.codec import to_json
from components.records.jsonl import write_records
from flows.shared.stage import StageRun, stage_run

STAGE = "corpus"


def main() -> None:
    """Read, cut, write."""
    with stage_run(STAGE) as run:
        make(run)


def make(run: StageRun) -> None:
    """Write passages and facts."""
    corpus = make_corpus(run.params.corpus, seed=run.seed)
    write_records(run.paths.passages, corpus.passages)
    write_json(run.paths.facts, [to_json(fact) for fact in corpus.facts])
    run.log_metrics(
        {
            "corpus/passages": len(corpus.passages),
            "corpus/decoys": sum(passage.is_decoy for passage in corpus.passages),
            "corpus/facts": len(corpus.facts),
        }
    )


if __name__ == "__main__":
    main()
