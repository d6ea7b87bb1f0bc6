"""The trial of search with a tiny model, the real index, the real interpreter and the real task stack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from doubles import PASSAGES
from model_search import CountingPolicy, problems

from components.environment.step import start
from components.records.problems import write_problems
from components.search.settings import SelfplaySettings
from components.search.verbs import Verbs
from components.tools.composite import composite_specs
from components.tools.open_toolbox import open_toolbox
from components.tools.prices import PriceSheet
from components.tools.settings import ToolSettings
from components.training.settings import CriticSettings
from flows.shared.acting import Actor
from flows.shared.foresight import learn_from_trees
from flows.shared.params import load_params
from flows.shared.paths import Paths
from flows.shared.searching import open_verbs
from flows.shared.stage import StageRun
from flows.stages import trial

CHOSEN = SelfplaySettings(simulations=3, trees=2, arguments_per_tool=1, max_depth=2)
FAMILIES = ("puzzle", "two_hop", "fact_compute")


@pytest.fixture
def run(tmp_path: Path) -> StageRun:
    """A run whose test and train problems are questions to a tiny model."""
    paths = Paths(tmp_path)
    paths.all_problems.mkdir(parents=True)
    posed = [replace(one, family=FAMILIES[n % 3]) for n, one in enumerate(problems())]
    for split in ("train", "test"):
        write_problems(paths.problems(split), [replace(one, split=split) for one in posed])
    paths.params.write_text("seed: 0\n")
    return StageRun("trial", paths, load_params(paths), None, "none")  # type: ignore[arg-type]


@pytest.fixture
def actor() -> Iterator[Actor]:
    policy, prices, ticks = CountingPolicy(), PriceSheet(), count()
    toolbox = open_toolbox(ToolSettings(), prices, PASSAGES, cut=policy.chat.cut, clock=lambda: float(next(ticks)))
    yield Actor(policy, toolbox, prices)
    toolbox.close()


@pytest.fixture
def verbs(actor: Actor, tmp_path: Path) -> Verbs:
    return open_verbs(actor, CHOSEN, tmp_path, also=composite_specs(trial.SPLITTING.tools))


def test_every_arm_is_tried_on_the_held_out_problems_of_its_families(run: StageRun, verbs: Verbs) -> None:
    attempts, figures = trial._against_sampling(run, verbs, CHOSEN, below=0.0)
    assert {one.arm for one in attempts} == {"search", "greedy", "sampled", "agreed", "bounded", "pruned"}
    for arm in {one.arm for one in attempts}:
        assert sorted(one.family for one in attempts if one.arm == arm) == ["puzzle"] * 2 + ["two_hop"] * 2
    assert set(figures) == {"threshold", "simulations_pruned", "stopped", "stopped_wrongly"}


def test_splitting_is_on_offer_where_the_arm_says_so(run: StageRun, verbs: Verbs) -> None:
    attempts = trial._splitting(run, verbs, CHOSEN)
    assert [one.arm for one in attempts] == ["flat"] * 4 + ["static"] * 4 + ["dynamic"] * 4
    assert {one.family for one in attempts} == {"two_hop", "fact_compute"}
    tokens = {arm: sum(one.tokens or 0 for one in attempts if one.arm == arm) for arm in ("flat", "dynamic")}
    assert tokens["dynamic"] > tokens["flat"], "more tools are shown and proposed"


def test_both_speeds_are_told(run: StageRun, verbs: Verbs) -> None:
    rates = trial._speed(run, verbs, CHOSEN)
    assert set(rates) == {"simulations_per_second_lockstep", "simulations_per_second_alone"}
    assert all(rate > 0.0 for rate in rates.values())


def test_states_are_valued_by_what_trees_of_train_problems_taught(run: StageRun, actor: Actor, tmp_path: Path) -> None:
    settings = CHOSEN.model_copy(update={"arguments_per_tool": 0, "max_depth": 3})
    verbs, below = trial._foreseeing(run, actor, settings, tmp_path)
    assert 0.0 <= below <= 1.0
    states = [start(problem) for problem in problems()]
    chances = [worth.chance for worth in verbs.value(states)]
    assert all(0.0 < chance < 1.0 for chance in chances)
    assert len(set(chances)) > 1, "states differ"
    again, _ = trial._foreseeing(run, actor, settings, tmp_path)
    assert [worth.chance for worth in again.value(states)] == pytest.approx(chances)


def test_a_policy_that_shows_no_hidden_states_teaches_nothing(actor: Actor) -> None:
    served = replace(actor, policy=object())  # type: ignore[arg-type]
    assert learn_from_trees(served, [], CHOSEN, CriticSettings()) is None
