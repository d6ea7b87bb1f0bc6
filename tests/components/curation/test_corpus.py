"""Passages, facts and decoys of the real Factbook."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from doubles import cut_words

from components.curation.corpus import Corpus
from components.curation.factbook import clean
from components.curation.facts import Fact, read_facts
from components.curation.passages import pack, split_field
from components.records.atomic import write_json
from components.records.codec import to_json
from components.tools.search_index import SearchIndex, SearchTool
from components.tools.settings import Engine


def fact(corpus: Corpus, key: str) -> Fact:
    return next(fact for fact in corpus.facts if fact.key == key)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("<p>C&ocirc;te d'Ivoire</p>", "Côte d'Ivoire"),
        ("a<br><br>b", "a b"),
        ("T&amp;uuml;rkiye", "Türkiye"),
        ("x <b>note:</b> y ; z", "x note: y; z"),
    ],
)
def test_text_is_free_of_html_and_entities(raw: str, text: str) -> None:
    assert clean(raw) == text


def test_passages_have_unique_ids_a_title_a_source_and_at_most_sixty_words(corpus: Corpus) -> None:
    passages = corpus.passages
    assert len({passage.passage_id for passage in passages}) == len(passages)
    for passage in passages:
        assert passage.title
        assert passage.source
        assert 0 < len(passage.text.split()) <= 60, passage
        assert not re.search(r"</?[a-z]+>|&[a-z]+;", passage.text), passage


def test_passages_are_named_by_country_and_section(corpus: Corpus) -> None:
    titles = {passage.title for passage in corpus.passages}
    assert {"Chad: Government", "North Korea: People", "Democratic Republic of the Congo: Geography"} <= titles


def test_three_percent_of_the_index_are_labelled_decoys(corpus: Corpus) -> None:
    share = sum(passage.is_decoy for passage in corpus.passages) / len(corpus.passages)
    assert 0.025 <= share <= 0.035
    assert all(passage.passage_id.startswith("decoy-") == passage.is_decoy for passage in corpus.passages)


def test_facts_are_short_and_stand_in_their_passage(corpus: Corpus) -> None:
    by_id = {passage.passage_id: passage for passage in corpus.passages}
    for known in corpus.facts:
        assert known.answer in by_id[known.passage_id].text, known
        assert len(known.answer.split()) <= 5, known
        assert known.answer in known.sentence(), known
    assert len(corpus.facts) > 6000
    assert min(Counter(known.attribute for known in corpus.facts).values()) > 100


def test_known_facts_are_right(corpus: Corpus) -> None:
    assert fact(corpus, "cd/capital").answer == "N'Djamena"
    assert fact(corpus, "fr/capital").answer == "Paris"
    assert fact(corpus, "cd/area").value == 1_284_000
    assert fact(corpus, "ja/currency").answer == "yen"
    assert fact(corpus, "cd/language").aliases == ("Arabic",)
    assert fact(corpus, "ga/capital").sentence() == "The capital of the Gambia is Banjul."


def test_facts_are_read_back_as_they_were_written(corpus: Corpus, tmp_path: Path) -> None:
    write_json(tmp_path / "facts.json", [to_json(known) for known in corpus.facts[:50]])
    assert read_facts(tmp_path / "facts.json") == corpus.facts[:50]


def test_decoys_contradict_the_fact_and_rank_high_on_both_engines(corpus: Corpus, index: SearchIndex) -> None:
    decoyed = [known for known in corpus.facts if known.attribute == "capital" and known.decoy_answer][:20]
    assert len(decoyed) == 20
    engines: tuple[Engine, ...] = ("natural", "strict")
    for engine in engines:
        tool = SearchTool(index, engine=engine, k=2, cut=cut_words, result_tokens=56)
        shown = [tool.call({"query": f"{known.country} capital"}) for known in decoyed]
        ranked = sum(
            f"decoy-{known.code}-capital" in result.source_ids for known, result in zip(decoyed, shown, strict=True)
        )
        assert ranked >= 12, engine
    assert all(known.decoy_answer != known.answer for known in decoyed)


def test_terse_queries_suit_the_strict_engine_and_whole_questions_do_not(corpus: Corpus, index: SearchIndex) -> None:
    capitals = [known for known in corpus.facts if known.attribute == "capital" and known.decoy_answer is None][:40]

    def hits(engine: Engine, query: str) -> int:
        tool = SearchTool(index, engine=engine, k=2, cut=cut_words, result_tokens=40)
        return sum(known.answer in tool.call({"query": query.format(known=known)}).content for known in capitals)

    wordy = "Could you tell me what is the capital of {known.in_sentence}?"
    assert hits("strict", "{known.country} capital") >= 36
    assert hits("natural", wordy) >= 36
    assert hits("strict", wordy) <= 2


def test_pieces_are_packed_in_order_up_to_the_limit() -> None:
    assert list(pack(["a b", "c", "d e f", "g"], 4)) == ["a b c", "d e f g"]


def test_a_long_field_is_cut_and_every_later_piece_names_the_country() -> None:
    text = "Climate of Chad: " + ", ".join(f"word{n} more" for n in range(30)) + "."
    pieces = list(split_field(text, "Chad, continued: ", 20))
    assert all(len(piece.split()) <= 20 for piece in pieces)
    assert [piece.startswith("Chad, continued: ") for piece in pieces] == [False] + [True] * (len(pieces) - 1)
    joined = " ".join(piece.removeprefix("Chad, continued: ") for piece in pieces)
    assert joined.split() == text.split()
