"""The real corpus and problem pool, made once for all tests of curation."""

from __future__ import annotations

import pytest

from components.curation.corpus import Corpus, make_corpus
from components.curation.families import all_problems
from components.curation.seed_annotations import annotated_problems, make_seed
from components.curation.settings import CorpusSettings
from components.schema.annotation import Annotation
from components.schema.problem import Problem
from components.tools.search_index import SearchIndex, build_index


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """The whole Factbook."""
    return make_corpus(CorpusSettings(), seed=0)


@pytest.fixture(scope="session")
def pool(corpus: Corpus) -> tuple[Problem, ...]:
    """Every problem of every profile."""
    return all_problems(corpus.facts, 0)


@pytest.fixture(scope="session")
def seed_rows(corpus: Corpus, pool: tuple[Problem, ...]) -> tuple[Annotation, ...]:
    """The generated annotations."""
    return tuple(make_seed(corpus.facts, annotated_problems(pool), seed=0))


@pytest.fixture(scope="session")
def index(corpus: Corpus) -> SearchIndex:
    """The whole corpus, ready to be searched."""
    return build_index(corpus.passages)
