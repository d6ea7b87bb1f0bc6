"""The bootstrap agrees with the slow obvious loop and covers as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation import bootstrap


def slow_resamples(groups: list[str], counts: np.ndarray) -> list[list[int]]:
    """For every resample, the list of problems drawn (a group drawn twice gives its problems twice)."""
    names = sorted(set(groups))
    members = {name: [i for i, group in enumerate(groups) if group == name] for name in names}
    return [
        [i for name, count in zip(names, row, strict=True) for _ in range(int(count)) for i in members[name]]
        for row in counts
    ]


def test_totals_agree_with_the_slow_obvious_loop() -> None:
    groups = ["chad", "peru", "chad", "iran", "peru", "chad"]
    columns = np.random.default_rng(1).normal(size=(6, 3))
    draws = bootstrap.resample(tuple(groups), seed=5, resamples=50)
    expected = np.array([columns[drawn].sum(axis=0) for drawn in slow_resamples(groups, draws.counts)])
    np.testing.assert_allclose(bootstrap.totals(draws, columns), expected, atol=1e-12)


def test_every_resample_draws_as_many_groups_as_there_are() -> None:
    draws = bootstrap.resample(tuple("abcab"), seed=0, resamples=2500)
    assert draws.counts.shape == (2501, 3)
    assert (draws.counts.sum(axis=1) == 3).all()
    assert (draws.counts[0] == 1).all()


def test_interval_of_a_mean_agrees_with_the_slow_obvious_loop() -> None:
    groups = ["a", "a", "b", "c", "d", "d", "e"]
    values = [1.0, 0.0, None, 1.0, 0.0, 1.0, 0.5]
    found = bootstrap.mean(values, groups, seed=3, resamples=400)
    draws = bootstrap.resample(tuple(groups), seed=3, resamples=400)
    means = []
    for drawn in slow_resamples(groups, draws.counts)[1:]:
        known = [values[i] for i in drawn if values[i] is not None]
        if known:
            means.append(np.mean(known))
    assert found is not None
    assert found.value == pytest.approx(3.5 / 6)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
    assert found.n == 6


def test_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values, groups = list(np.random.default_rng(0).random(40)), [str(i) for i in range(40)]
    first = bootstrap.mean(values, groups, seed=1, resamples=300)
    assert first == bootstrap.mean(values, groups, seed=1, resamples=300)
    assert first != bootstrap.mean(values, groups, seed=2, resamples=300)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(7)
    groups = [str(i // 2) for i in range(120)]  # 60 groups of two problems that share their luck
    covered = 0
    for simulation in range(400):
        chance = np.repeat(generator.beta(4, 2, size=60), 2)
        values = (generator.random(120) < chance).astype(float)
        found = bootstrap.mean(list(values), groups, seed=simulation, resamples=200)
        assert found is not None
        covered += found.low <= 4 / 6 <= found.high
    assert 0.90 <= covered / 400 <= 0.98


def test_groups_that_move_together_widen_the_interval() -> None:
    values = [float(i // 10 % 2) for i in range(200)]
    alone = bootstrap.mean(values, [str(i) for i in range(200)], seed=0)
    together = bootstrap.mean(values, [str(i // 10) for i in range(200)], seed=0)
    assert alone is not None
    assert together is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_policy_does_not_differ_from_itself() -> None:
    values, groups = [0.0, 1.0, 1.0, None, 1.0], list("abcde")
    found = bootstrap.paired_difference(values, values, groups, 0)
    assert found is not None
    assert (found.value, found.low, found.high, found.n) == (0.0, 0.0, 0.0, 4)


def test_pairing_sees_a_difference_that_separate_intervals_hide() -> None:
    generator = np.random.default_rng(3)
    hardness = generator.normal(size=80)
    ours, theirs = list(hardness + 0.1 + generator.normal(scale=0.05, size=80)), list(hardness)
    groups = [str(i) for i in range(80)]
    difference = bootstrap.paired_difference(ours, theirs, groups, 0)
    alone = bootstrap.mean(ours, groups, seed=0)
    other = bootstrap.mean(theirs, groups, seed=0)
    assert difference is not None
    assert alone is not None
    assert other is not None
    assert difference.low > 0
    assert alone.low < other.high


def test_unscored_values_are_excluded_and_never_zero() -> None:
    found = bootstrap.mean([1.0, None, 1.0, None], list("abcd"), seed=0)
    assert found is not None
    assert (found.value, found.low, found.high, found.n) == (1.0, 1.0, 1.0, 2)
    assert bootstrap.mean([None, None], ["a", "b"], seed=0) is None
    assert bootstrap.mean([], [], seed=0) is None


def test_ratio_of_means_divides_sums_not_averages_of_ratios() -> None:
    found = bootstrap.ratio_of_means([1.0, 3.0, 0.0, 2.0], [1.0, 1.0, 0.0, 1.0], list("abcd"), seed=0)
    assert found is not None
    assert found.value == pytest.approx(2.0)
    assert found.low <= 2.0 <= found.high


def test_ratio_that_divides_by_nothing_is_missing() -> None:
    assert bootstrap.ratio_of_means([1.0, 1.0], [0.0, 0.0], ["a", "b"], seed=0) is None


def test_ratio_difference_of_a_policy_that_pays_half_is_clear_of_zero() -> None:
    generator = np.random.default_rng(2)
    right = (generator.random(150) < 0.8).astype(float)
    full, half = np.ones(150), np.full(150, 0.5)
    found = bootstrap.ratio_difference((half, right), (full, right), [str(i) for i in range(150)], seed=0)
    assert found is not None
    assert found.value == pytest.approx(-0.5 * 150 / right.sum())
    assert found.high < 0


def test_a_share_that_every_group_agrees_on_keeps_an_honest_bound() -> None:
    found = bootstrap.mean([1.0] * 10, list("abcdefghij"), seed=0)
    assert found is not None
    widened = bootstrap.share_interval(found, clusters=10)
    assert widened.high == 1.0
    assert widened.low == pytest.approx(0.6915, abs=1e-3)  # Clopper-Pearson for 10 of 10
    assert bootstrap.share_interval(found, clusters=1000).low > 0.99
