"""The simulated gate keeps its promises: equals are seldom promoted, gains are found as theory says, looks cost."""

from __future__ import annotations

import pytest

from components.evaluation.settings import GateSettings
from components.evaluation.simulate import Scenario, looks_promoting, operating_point, power
from components.evaluation.spending import alpha_of

ONE_LOOK = GateSettings(looks=1)


@pytest.mark.parametrize(
    "world",
    [Scenario(0.0, 400), Scenario(0.0, 400, 0.05), Scenario(0.0, 400, 0.2, group_size=4, correlation=0.5)],
    ids=["independent", "seldom different", "related in groups"],
)
def test_equal_is_promoted_in_less_than_five_percent(world: Scenario) -> None:
    assert operating_point(world, ONE_LOOK, gates=2000, seed=0).promoted.high < 0.05


@pytest.mark.parametrize("effect", [0.02, 0.05])
def test_gain_is_found_as_often_as_the_normal_paired_test_says(effect: float) -> None:
    found = operating_point(Scenario(effect, 1000), ONE_LOOK, gates=2000, seed=0)
    assert abs(found.promoted.value - found.theory) < 0.03


def test_theory_agrees_with_the_table_of_detectable_gains() -> None:
    """2.487 sqrt(discordance / n) is found in 80 % at one-sided 5 % (its own part of the variance left out)."""
    assert power(Scenario(0.035, 1000, 0.2), alpha=0.10) == pytest.approx(0.8, abs=0.01)


def test_gain_that_ruins_a_slice_is_not_promoted() -> None:
    ruined = Scenario(0.05, 1000, slice_loss=0.3)
    assert operating_point(ruined, ONE_LOOK, gates=500, seed=0).promoted.high < 0.02


def test_looks_that_spend_alpha_promote_equals_seldom_and_looks_that_do_not_promote_them_often() -> None:
    ten = GateSettings()
    assert looks_promoting(ten, problems=200, gates=600, seed=0, spend=True).high < 0.05
    assert looks_promoting(ten, problems=200, gates=600, seed=0, spend=False).low > 0.08


@pytest.mark.parametrize("spending", ["pocock", "obrien_fleming"])
def test_shares_of_all_looks_add_up_to_alpha_and_then_nothing_is_left(spending: str) -> None:
    plan = {"looks": 7, "spending": spending, "alpha": 0.05}
    shares = [alpha_of(look, **plan) for look in range(1, 8)]  # type: ignore[arg-type]
    assert sum(shares) == pytest.approx(0.05)
    assert min(shares) > 0
    assert alpha_of(8, **plan) == 0  # type: ignore[arg-type]


def test_obrien_fleming_saves_its_alpha_for_the_last_looks_and_pocock_spends_evenly() -> None:
    def shares(spending: str) -> list[float]:
        return [alpha_of(look, looks=5, spending=spending, alpha=0.05) for look in range(1, 6)]  # type: ignore[arg-type]

    late, even = shares("obrien_fleming"), shares("pocock")
    assert late == sorted(late)
    assert late[0] < 1e-4
    assert max(even) < 3 * min(even)


def test_world_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs a discordance of at least 0\.3"):
        Scenario(0.3, discordance=0.2)
