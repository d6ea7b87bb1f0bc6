"""What distillation draws from: rare finds are seen as often as common ones."""

from __future__ import annotations

from components.training.distil import MOST_REPEATS, evened
from components.training.examples import Example


def test_a_small_source_is_repeated_until_it_weighs_as_much_as_a_large_one() -> None:
    few, many = [Example((1,)), Example((2,))], [Example((10 + n,)) for n in range(7)]
    mixed = evened(few, many)
    assert [mixed.count(one) for one in few] == [3, 3]
    assert [mixed.count(one) for one in many] == [1] * 7


def test_a_very_small_source_is_not_learnt_by_heart() -> None:
    mixed = evened([Example((1,))], [Example((10 + n,)) for n in range(90)])
    assert mixed.count(Example((1,))) == MOST_REPEATS


def test_an_empty_source_adds_nothing() -> None:
    many = [Example((n,)) for n in range(3)]
    assert evened([], many) == many
    assert evened([], []) == []
