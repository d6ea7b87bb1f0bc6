"""The price that a model is told: part of the prompt, one of the levels it knows, and nothing where it knows none."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from doubles import make_problem
from tiny_models import chat, specs_of

from components.environment.step import start
from components.policy.told_price import FollowsNoPrice, at_price, read_levels, spread_prices, write_levels
from components.records.codec import to_json
from components.records.manifest import BadModelFolder, verify_manifest, write_manifest
from components.schema.problem import Problem

LEVELS = (0.0, 0.1, 0.3, 1.0)
PROBLEM = make_problem(prompt="Why?")


@pytest.mark.parametrize(("asked", "told"), [(0.3, 0.3), (0.24, 0.3), (0.0, 0.0), (7.0, 1.0), (None, 0.1)])
def test_a_model_is_told_the_nearest_price_it_knows_or_the_usual_one(asked: float | None, told: float) -> None:
    assert at_price(PROBLEM, asked, LEVELS, usual=0.12).price == told


def test_a_model_that_follows_no_price_is_told_none_and_refuses_one() -> None:
    assert at_price(PROBLEM, None, (), usual=0.1) is PROBLEM
    with pytest.raises(FollowsNoPrice, match="price_conditioned"):
        at_price(PROBLEM, 0.1, (), usual=0.1)


@pytest.mark.parametrize("price", [-0.1, float("nan"), float("inf")])
def test_what_is_no_price_is_refused(price: float) -> None:
    with pytest.raises(FollowsNoPrice, match="a number >= 0"):
        at_price(PROBLEM, price, LEVELS, usual=0.1)


def test_the_price_is_the_last_thing_read_before_the_turn_so_that_prices_share_the_rest() -> None:
    specs = specs_of(PROBLEM.tool_names)
    low, high = (chat().context_ids(start(replace(PROBLEM, price=price)), specs) for price in (0.1, 1.0))
    assert "Why?\nPrice of a call: 0.1." in chat().decode(low)
    same = next(place for place, (a, b) in enumerate(zip(low, high, strict=False)) if a != b)
    assert len(low) - same <= 12
    assert chat().context_ids(start(PROBLEM), specs) == chat().prompt_ids(PROBLEM.prompt, specs)
    assert "Price" not in chat().decode(chat().context_ids(start(replace(PROBLEM, price=0.1)), ()))


def test_levels_are_kept_beside_the_weights_and_checked_like_them(tmp_path: Path) -> None:
    assert read_levels(tmp_path) == ()
    write_levels(tmp_path, ())
    assert list(tmp_path.iterdir()) == []
    write_levels(tmp_path, LEVELS)
    assert read_levels(tmp_path) == LEVELS
    write_manifest(tmp_path)
    (tmp_path / "prices.json").write_text('{"prices": "dear"}')
    with pytest.raises(BadModelFolder, match=r"prices\.json"):
        read_levels(tmp_path)
    with pytest.raises(BadModelFolder, match=r"prices\.json"):
        verify_manifest(tmp_path)


def test_every_problem_keeps_its_own_price_and_all_prices_are_used() -> None:
    problems = [make_problem(prompt=f"{number}?") for number in range(200)]
    told = spread_prices(problems, LEVELS)
    assert told == spread_prices(problems[:7], LEVELS) + spread_prices(problems[7:], LEVELS)
    assert min(Counter(one.price for one in told).values()) > 30
    assert spread_prices(problems, ()) == tuple(problems)


def test_problems_without_a_price_are_written_as_before() -> None:
    def written(problem: Problem) -> set[str]:
        return set(to_json(problem))

    assert written(replace(PROBLEM, price=0.1)) - written(PROBLEM) == {"price"}
