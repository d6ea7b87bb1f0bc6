"""Cluster-robust intervals agree with slow, obvious versions of the same formulas."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation.clustered import Clusters, ratio, ratio_difference, student_quantile


def test_mean_without_groups_has_the_textbook_error() -> None:
    values = np.random.default_rng(0).normal(size=40)
    found = ratio(values, np.ones(40), Clusters.of([str(i) for i in range(40)]), bounded=False)
    assert found is not None
    assert found.error == pytest.approx(values.std(ddof=1) / np.sqrt(40))
    low, high = found.bounds(0.05)
    assert (high - low) / 2 == pytest.approx(2.0227 * found.error, rel=1e-3)


def test_copies_of_a_problem_in_one_group_tell_no_more_than_the_problem_itself() -> None:
    values = np.random.default_rng(0).normal(size=30)
    once = ratio(values, np.ones(30), Clusters.of([str(i) for i in range(30)]), bounded=False)
    thrice = ratio(np.tile(values, 3), np.ones(90), Clusters.of([str(i % 30) for i in range(90)]), bounded=False)
    assert once is not None
    assert thrice is not None
    assert thrice.error == pytest.approx(once.error)
    assert thrice.clusters == 30


def test_many_gates_at_once_give_what_each_gives_alone() -> None:
    values = np.random.default_rng(0).normal(size=(5, 24))
    clusters = Clusters.of([f"g{i % 7}" for i in range(24)])
    together = ratio(values, np.ones_like(values), clusters, bounded=True)
    assert together is not None
    for row in range(5):
        alone = ratio(values[row], np.ones(24), clusters, bounded=True)
        assert alone is not None
        assert (together.value[row], together.error[row]) == pytest.approx((float(alone.value), float(alone.error)))


def test_ratio_difference_agrees_with_the_jackknife_over_groups() -> None:
    generator = np.random.default_rng(0)
    under = generator.integers(1, 4, size=(2, 120)).astype(float)
    over = np.minimum(generator.poisson(0.6, size=(2, 120)), under).astype(float)
    groups = np.repeat(np.arange(40), 3)
    found = ratio_difference((over[0], under[0]), (over[1], under[1]), Clusters.of(groups.astype(str)), bounded=False)
    assert found is not None

    def figure(kept: np.ndarray) -> float:
        return float(over[0][kept].sum() / under[0][kept].sum() - over[1][kept].sum() / under[1][kept].sum())

    left_out = np.asarray([figure(groups != group) for group in range(40)])
    assert float(found.error) == pytest.approx(np.sqrt(39 / 40 * ((left_out - left_out.mean()) ** 2).sum()), rel=0.03)
    assert float(found.value) == pytest.approx(figure(groups >= 0))


def test_no_difference_at_all_in_few_problems_is_no_proof_of_equality() -> None:
    few = ratio(np.zeros(20), np.ones(20), Clusters.of([str(i) for i in range(20)]), bounded=True)
    assert few is not None
    low, high = few.bounds(0.05)
    assert low < -0.02
    assert high > 0.02


def test_one_group_alone_tells_nothing() -> None:
    assert ratio(np.ones(5), np.ones(5), Clusters.of(["g"] * 5), bounded=True) is None


@pytest.mark.parametrize(
    ("p", "degrees", "table"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 9, 2.262),
        (0.995, 30, 2.750),
        (0.95, 100, 1.660),
    ],
)
def test_student_quantiles_are_those_of_the_tables(p: float, degrees: int, table: float) -> None:
    assert student_quantile(p, degrees) == pytest.approx(table, rel=0.01)
