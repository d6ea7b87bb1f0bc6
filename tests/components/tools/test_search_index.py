"""Search is real BM25, deterministic, and no query text can hurt it."""

import random
import time

import pytest
from doubles import PASSAGES, cut_words
from hypothesis import given, settings
from hypothesis import strategies as st

from components.tools.search_index import Passage, SearchIndex, SearchTool, build_index, find
from components.tools.settings import Engine
from components.tools.snippet import best_part

INDEX = build_index(PASSAGES)


def tool(engine: Engine, *, index: SearchIndex = INDEX, k: int = 2, result_tokens: int = 12) -> SearchTool:
    return SearchTool(index, engine=engine, k=k, cut=cut_words, result_tokens=result_tokens)


def ids(engine: Engine, query: str) -> tuple[str, ...]:
    return tool(engine).call({"query": query}).source_ids


def test_natural_understands_a_wordy_query_and_strict_does_not() -> None:
    wordy = "What is the government capital of the country of Chad?"
    assert "chad-government-1" in ids("natural", wordy)
    assert ids("strict", wordy) == ()
    assert ids("strict", "capital Chad Government") == ("chad-government-1",)


def test_natural_stems_and_strict_takes_terms_as_typed() -> None:
    assert ids("natural", "populations")[0] == "chad-people-1"
    assert ids("strict", "populations") == ()
    assert ids("strict", "POPULATION") == ("chad-people-1",)


def test_stop_words_count_only_under_strict() -> None:
    assert ids("natural", "of the") == ()
    assert ids("strict", "of course") == ("decoy-chad-1",)


def test_a_title_match_counts_more() -> None:
    passages = [
        Passage("1", "Rivers", "s", "Chad is mentioned here among other words of the text", False),
        Passage("2", "Chad", "s", "Rivers are mentioned here among other words of the text", False),
    ]
    assert [p.passage_id for p in find(build_index(passages), "Chad", engine="natural", k=2)] == ["2", "1"]


def test_the_result_shows_title_and_the_matching_part_and_hides_the_decoy_flag() -> None:
    content = tool("strict").call({"query": "capital Chad"}).content
    lines = content.splitlines()
    assert "[Chad: Government] Capital name: N'Djamena; geographic coordinates: 12 06 N, 15 02" in lines
    assert all(len(line.split(" ")) <= 12 for line in lines)
    assert "decoy" not in content


def test_nothing_found_is_no_error() -> None:
    output = tool("strict").call({"query": "zebra"})
    assert (output.content, output.is_error, output.source_ids) == ("No results.", False, ())


@pytest.mark.parametrize("query", ["", "   ", "?!", "😀", None, 3])
def test_a_query_without_words_is_an_error_that_can_be_read(query: object) -> None:
    output = tool("natural").call({"query": query})
    assert output.is_error
    assert output.content == "Error: the query has no words."


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80), st.sampled_from(["natural", "strict"]))
def test_any_query_text_gives_an_output(query: str, engine: Engine) -> None:
    output = tool(engine).call({"query": query})
    assert output.content
    assert len(output.source_ids) <= 2


@pytest.mark.parametrize(
    "query", ['"Chad', "Chad AND (", "title:Chad^2", "Chad~", "-Chad +", "[a TO b]", "\ud800Chad", "a" * 10**5]
)
def test_query_syntax_means_nothing(query: str) -> None:
    assert tool("natural").call({"query": query}).content


def test_order_is_by_score_then_id_whatever_the_order_of_the_input() -> None:
    twins = [Passage(f"p{i:02}", "Twin", "s", "the same words", False) for i in range(30)]
    for seed in range(3):
        shuffled = random.Random(seed).sample(twins, len(twins))
        found = find(build_index(shuffled), "same words", engine="natural", k=5)
        assert [p.passage_id for p in found] == ["p00", "p01", "p02", "p03", "p04"]


def test_two_passages_with_one_id_are_a_bug() -> None:
    with pytest.raises(ValueError, match="'chad-people-1'"):
        build_index([*PASSAGES, PASSAGES[1]])


def test_the_version_follows_content_and_settings() -> None:
    assert tool("strict").version == tool("strict").version
    assert len({tool("strict").version, tool("natural").version, tool("strict", k=3).version}) == 3
    assert tool("strict", index=build_index(PASSAGES[:2])).version != tool("strict").version


def test_five_thousand_passages_are_indexed_in_seconds_and_searched_in_milliseconds() -> None:
    rng, words = random.Random(0), [f"word{i}" for i in range(3000)]
    passages = [
        Passage(f"p{i}", rng.choice(words), "s", " ".join(rng.choices(words, k=100)), False) for i in range(5000)
    ]
    before = time.perf_counter()
    index = build_index(passages)
    assert time.perf_counter() - before < 10
    searcher = tool("natural", index=index)
    before = time.perf_counter()
    for number in range(100):
        searcher.call({"query": f"word{number} word{number + 1}"})
    assert time.perf_counter() - before < 5


def test_the_best_part_starts_where_the_terms_are() -> None:
    text = "area: 1; total: 2; capital name: X; capital region: Y; total: 3"
    analyze = lambda part: part.replace(":", "").replace(";", "").split()  # noqa: E731 - a stand-in analyzer
    assert best_part(text, ["capital", "name"], analyze=analyze, words=4).startswith("capital name: X")
    assert best_part(text, ["area"], analyze=analyze, words=4) == text
    assert best_part(text, [], analyze=analyze, words=4) == text
