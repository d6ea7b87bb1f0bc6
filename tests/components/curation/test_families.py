"""Problems: sizes, splits, phrasings and gold answers."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from components.curation.corpus import Corpus
from components.curation.families import select_problems
from components.curation.family_compute import SOURCES, compute_problems
from components.curation.family_fact import decoy_problems, fact_problems, number_problems
from components.curation.family_puzzle import puzzle_problems, solve
from components.curation.problem_making import ASKING, ASKING_IN_TEST
from components.curation.settings import CurateSettings
from components.curation.splits import shares, split_of
from components.reward.checkers import check
from components.schema.problem import Problem

FAMILIES = ("fact", "number", "two_hop", "compute", "fact_compute", "chat", "decoy", "puzzle")
FULL = CurateSettings(train_size=6300, validation_size=640, test_size=1600)
DEMO = CurateSettings()
SMOKE = CurateSettings(train_size=24, validation_size=8, test_size=16)


def test_the_gold_answer_of_every_problem_passes_its_checker(pool: tuple[Problem, ...]) -> None:
    for problem in pool:
        assert problem.reference.answer in problem.reference.text
        assert check(problem, problem.reference.text), problem
        assert check(problem, problem.reference.answer), problem


def test_an_empty_answer_and_the_prompt_itself_solve_almost_nothing(pool: tuple[Problem, ...]) -> None:
    sample = pool[::17]
    assert not any(check(problem, "") for problem in sample)
    echoed = [problem for problem in sample if check(problem, problem.prompt)]
    assert len(echoed) <= 0.01 * len(sample), echoed[:3]


def test_prompts_and_ids_are_unique_and_groups_never_straddle_splits(pool: tuple[Problem, ...]) -> None:
    assert len({problem.prompt for problem in pool}) == len(pool)
    assert len({problem.problem_id for problem in pool}) == len(pool)
    splits = defaultdict(set)
    for problem in pool:
        splits[problem.group].add(problem.split)
    assert all(len(found) == 1 for found in splits.values())


def test_no_country_of_a_test_problem_is_met_in_training(pool: tuple[Problem, ...]) -> None:
    countries: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for problem in pool:
        if problem.group.startswith("country:"):
            countries[problem.split] |= {problem.group.removeprefix("country:"), *problem.facts.get("countries", ())}
    assert not countries["train"] & countries["test"]
    assert not countries["train"] & countries["validation"]
    assert not countries["validation"] & countries["test"]


def test_full_and_demo_are_large_enough_and_nested(pool: tuple[Problem, ...]) -> None:
    full, demo, smoke = (select_problems(pool, settings) for settings in (FULL, DEMO, SMOKE))
    sizes = Counter(problem.split for problem in full)
    assert sizes["train"] >= 6000
    assert sizes["validation"] >= 600
    assert sizes["test"] >= 1500
    assert Counter(p.family for p in demo if p.split == "test") == Counter(DEMO.weights.model_dump())
    assert {p.problem_id for p in smoke} <= {p.problem_id for p in demo} <= {p.problem_id for p in full}
    assert {p.family for p in smoke if p.split == "test"} == set(FAMILIES)


def test_more_facts_leave_every_other_problem_where_it_was(corpus: Corpus, pool: tuple[Problem, ...]) -> None:
    fewer = [fact for fact in corpus.facts if fact.code < "g" and fact.code != "cd"]
    before = {problem.problem_id: problem.split for problem in pool}
    for make in (fact_problems, number_problems, decoy_problems):
        after = {problem.problem_id: problem.split for problem in make(fewer, 0)}
        assert after
        assert after.items() <= before.items()


def test_more_exercises_and_puzzles_begin_with_the_same_ones(pool: tuple[Problem, ...]) -> None:
    assert list(puzzle_problems(60, 0))[:30] == list(puzzle_problems(30, 0))
    known = {problem.problem_id for problem in pool}
    assert {problem.problem_id for problem in compute_problems(200, 0)} <= known


@pytest.mark.parametrize("family", FAMILIES)
def test_some_phrasings_occur_in_the_test_split_only(pool: tuple[Problem, ...], family: str) -> None:
    seen = defaultdict(set)
    for problem in pool:
        if problem.family == family:
            seen[problem.split].add(_phrasing(problem))
    assert len(seen["train"]) >= 8
    assert seen["test"] - seen["train"] - seen["validation"]


def _phrasing(problem: Problem) -> tuple[str, str, int]:
    kind = str(problem.facts.get("source", ""))
    if problem.family == "puzzle":
        kind = str(problem.checker.settings["use_all"])
    if problem.family == "fact_compute":
        kind = str(len(problem.facts["countries"]))
    return problem.family, kind, int(problem.facts["phrasing"])


def test_prompts_are_short(pool: tuple[Problem, ...]) -> None:
    assert max(len(problem.prompt.split()) for problem in pool) <= 42
    assert len(ASKING) >= 8
    assert len(ASKING_IN_TEST) >= 2


def test_compute_runs_from_trivial_to_hard(pool: tuple[Problem, ...]) -> None:
    products = [p for p in pool if p.facts.get("source") == "product"]
    values = [abs(float(p.reference.answer)) for p in products]
    assert min(values) < 50
    assert max(values) > 1e8
    assert {p.facts["source"] for p in pool if p.family == "compute"} == {source.name for source in SOURCES}


def test_puzzles_can_be_solved_and_the_solver_knows_when_not() -> None:
    assert solve([1, 1, 1, 1], 24) is None
    assert solve([4, 6, 1, 1], 24) is not None


def test_splits_are_about_75_7_18() -> None:
    counts = Counter(split_of(f"group{number}", 0) for number in range(4000))
    assert counts["train"] == pytest.approx(3000, rel=0.05)
    assert counts["validation"] == pytest.approx(280, rel=0.2)
    assert counts["test"] == pytest.approx(720, rel=0.1)


def test_shares_add_up() -> None:
    assert sum(shares(320, DEMO.weights.model_dump()).values()) == 320
    assert shares(10, {"a": 1, "b": 1, "c": 0}) == {"a": 5, "b": 5, "c": 0}
