"""The corpus in one call. Takes settings and a seed; gives passages (decoys included) and the fact table.

It builds no index: see `components.tools.search_index`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.curation.decoys import make_decoys
from components.curation.factbook import read_factbook
from components.curation.facts import Fact, make_facts
from components.curation.passages import make_passages
from components.curation.settings import CorpusSettings
from components.tools.search_index import Passage


@dataclass(frozen=True, slots=True)
class Corpus:
    """What the stage `corpus` makes."""

    passages: tuple[Passage, ...]
    facts: tuple[Fact, ...]


def make_corpus(settings: CorpusSettings, *, seed: int, folder: Path | None = None) -> Corpus:
    """Passages and facts of the Factbook in `folder` (default: the installed package) with decoys."""
    countries = read_factbook(folder)
    passages = make_passages(countries, max_words=settings.max_words)
    facts = make_facts(countries, passages)
    decoys = make_decoys(facts, index_size=len(passages), share=settings.decoy_share, seed=seed)
    return Corpus(passages=passages + decoys.passages, facts=decoys.facts)
