"""Search over passages with tantivy (BM25), in memory and deterministic.

Takes passages; gives an index and the `search` tool over it, under one of two engines:
  natural  any term may match; terms are stemmed and folded, stop words dropped, the title counts double;
  strict   every term of the query must match as typed (lower case), title and text together.
Ties are broken by passage id, so that the order of the input never matters. Queries are built from terms, never parsed,
so no query text is an error but one without words. Does not fetch or write anything; the decoy flag is never shown.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tantivy import Document, Filter, Index, Occur, Query, SchemaBuilder, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

from components.schema.identity import stable_hash
from components.tools.settings import Engine
from components.tools.snippet import best_part
from components.tools.spec import SEARCH_SPEC, Cut, ToolOutput, ToolSpec

TITLE_BOOST = 2.0
NO_RESULTS = "No results."
_LONGEST_TERM = 40
_EXTRA_HITS = 16
"""Hits fetched beyond k, so that ties at the edge can be broken by passage id."""
_MOST_TERMS = 64
"""Terms of a query that count; the rest of a very long query is ignored."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of the corpus that a search may show."""

    passage_id: str
    title: str
    source: str
    """Where the text comes from, for people."""
    text: str
    is_decoy: bool
    """True for joke or outdated pages that contradict the facts; never shown to the policy."""


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """Passages with their index; made by `build_index`."""

    passages: tuple[Passage, ...]
    """Ordered by id; the index's documents in the same order."""
    index: Index
    natural: TextAnalyzer
    exact: TextAnalyzer
    digest: str
    """Hash of every passage."""

    def terms(self, text: str) -> list[str]:
        """Stemmed terms of `text` without stop words."""
        return list(self.natural.analyze(text))


def build_index(passages: Iterable[Passage]) -> SearchIndex:
    """An index in memory, the same for any order of the passages; raises ValueError on a repeated id."""
    ordered = tuple(sorted(passages, key=lambda passage: passage.passage_id))
    for before, after in itertools.pairwise(ordered):
        if before.passage_id == after.passage_id:
            raise ValueError(f"two passages have the id {after.passage_id!r}")
    natural, exact = _natural_analyzer(), _exact_analyzer()
    index = Index(_schema())
    index.register_tokenizer("natural", natural)
    index.register_tokenizer("exact", exact)
    _add_all(index, ordered)
    return SearchIndex(passages=ordered, index=index, natural=natural, exact=exact, digest=_digest(ordered))


def find(index: SearchIndex, query: str, *, engine: Engine, k: int) -> tuple[Passage, ...]:
    """The k best passages, best first."""
    built = _natural_query(index, query) if engine == "natural" else _strict_query(index, query)
    if built is None:
        return ()
    searcher = index.index.searcher()
    hits = searcher.search(built, limit=k + _EXTRA_HITS, count=False).hits
    numbers = searcher.fast_field_values("number", [address for _, address in hits])
    ranked = sorted(zip(hits, numbers, strict=True), key=lambda pair: (-pair[0][0], pair[1]))
    return tuple(index.passages[int(number)] for _, number in ranked[:k])


class SearchTool:
    """The `search` tool: one line a passage, `[title] the part that matches best`, cut to a budget."""

    def __init__(self, index: SearchIndex, *, engine: Engine, k: int, cut: Cut, result_tokens: int) -> None:
        self._index, self._engine, self._k = index, engine, k
        self._cut, self._result_tokens = cut, result_tokens
        self.version = stable_hash([index.digest, engine, k, result_tokens])

    @property
    def spec(self) -> ToolSpec:
        """`search(query)`."""
        return SEARCH_SPEC

    def call(self, arguments: Mapping[str, Any]) -> ToolOutput:
        """The passages found, or a note that there are none."""
        query = arguments.get("query")
        query = query.encode("utf-8", "replace").decode("utf-8") if isinstance(query, str) else ""
        if not self._index.exact.analyze(query):
            return ToolOutput("Error: the query has no words.", is_error=True)
        found = find(self._index, query, engine=self._engine, k=self._k)
        lines = [self._line(passage, query) for passage in found]
        ids = tuple(passage.passage_id for passage in found)
        return ToolOutput("\n".join(lines) or NO_RESULTS, is_error=False, source_ids=ids)

    def _line(self, passage: Passage, query: str) -> str:
        beyond_title = set(self._index.terms(query)).difference(self._index.terms(passage.title))
        part = best_part(
            passage.text,
            sorted(beyond_title),
            analyze=self._index.terms,
            words=max(4, self._result_tokens // 2),
        )
        return self._cut(f"[{passage.title}] {part}", self._result_tokens)


def _natural_query(index: SearchIndex, query: str) -> Query | None:
    schema = index.index.schema
    parts: list[tuple[Occur, Query]] = []
    for term in _distinct(index.terms(query)):
        parts.append((Occur.Should, Query.term_query(schema, "text", term, "freq")))
        title = Query.term_query(schema, "title", term, "freq")
        parts.append((Occur.Should, Query.boost_query(title, TITLE_BOOST)))
    return Query.boolean_query(parts) if parts else None


def _strict_query(index: SearchIndex, query: str) -> Query | None:
    schema = index.index.schema
    terms = _distinct(index.exact.analyze(query))
    parts = [(Occur.Must, Query.term_query(schema, "exact", term, "freq")) for term in terms]
    return Query.boolean_query(parts) if parts else None


def _distinct(terms: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(terms))[:_MOST_TERMS]


def _schema() -> Any:
    builder = SchemaBuilder()
    builder.add_unsigned_field("number", fast=True)
    builder.add_text_field("title", tokenizer_name="natural", index_option="freq")
    builder.add_text_field("text", tokenizer_name="natural", index_option="freq")
    builder.add_text_field("exact", tokenizer_name="exact", index_option="freq")
    return builder.build()


def _natural_analyzer() -> TextAnalyzer:
    builder = TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.remove_long(_LONGEST_TERM))
    builder = builder.filter(Filter.lowercase()).filter(Filter.ascii_fold())
    return builder.filter(Filter.stopword("english")).filter(Filter.stemmer("english")).build()


def _exact_analyzer() -> TextAnalyzer:
    builder = TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.remove_long(_LONGEST_TERM))
    return builder.filter(Filter.lowercase()).build()


def _add_all(index: Index, passages: Sequence[Passage]) -> None:
    """One writer thread, so that documents keep the order of the passages."""
    writer = index.writer(heap_size=128_000_000, num_threads=1)
    for number, passage in enumerate(passages):
        document = Document()
        document.add_unsigned("number", number)
        document.add_text("title", passage.title)
        document.add_text("text", passage.text)
        document.add_text("exact", f"{passage.title}\n{passage.text}")
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    index.reload()


def _digest(passages: Sequence[Passage]) -> str:
    whole = hashlib.sha256()
    for passage in passages:
        whole.update(stable_hash([passage.passage_id, passage.title, passage.text], length=64).encode("ascii"))
    return whole.hexdigest()
