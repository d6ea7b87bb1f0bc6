"""Which of the base model's own direct answers the clone keeps alive."""

from __future__ import annotations

import pytest

from components.schema.cost import NO_COST
from components.schema.trajectory import Outcome, StopReason, Trajectory
from components.training.clone import own_answers
from components.training.settings import CloneSettings


def _answered(name: str, success: bool | None) -> Trajectory:
    return Trajectory(name, name, "base", 0, (), Outcome(StopReason.ANSWERED, "Paris.", success, NO_COST))


ANSWERS = (_answered("right", True), _answered("wrong", False), _answered("unjudged", None))


@pytest.mark.parametrize(("chosen", "kept"), [("all", ["right", "wrong", "unjudged"]), ("right", ["right"])])
def test_only_answers_that_pass_the_checker_are_learnt_where_right_ones_are_asked_for(
    chosen: str, kept: list[str]
) -> None:
    settings = CloneSettings.model_validate({"direct_answers": chosen})
    assert [one.trajectory_id for one in own_answers(ANSWERS, settings)] == kept
