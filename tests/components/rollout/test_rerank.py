"""Acting by Q: of the candidates at a state, the one with the greatest value is carried out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from doubles import FakeToolbox, make_problem
from tiny_models import tiny_policy

from components.environment.replay import replay
from components.policy.heads import QHead, score_actions
from components.policy.policy import Policy
from components.rollout.rerank import RerankSettings, rollout_by_q, values_by
from components.schema.proposal import Proposal
from components.schema.trajectory import ANSWER, State, Trajectory

PROBLEMS = tuple(make_problem(prompt=f"{text}?", max_calls=2) for text in ("Why", "Who"))
SETTINGS = RerankSettings(arguments_per_tool=2)


@cache
def policy() -> Policy:
    return tiny_policy()


def preferring(*order: str) -> object:
    """Values by which, at turn t, the decision order[t] is best, and of its candidates the one written last."""

    def values(states: Sequence[State], proposals: Sequence[Sequence[Proposal]]) -> list[list[float]]:
        wanted = [order[min(len(state.calls), len(order) - 1)] for state in states]
        return [
            [i + 100.0 * (p.action.decision == name) for i, p in enumerate(several)]
            for name, several in zip(wanted, proposals, strict=True)
        ]

    return values


def played(values: object) -> tuple[Trajectory, ...]:
    return rollout_by_q(policy(), values, PROBLEMS, FakeToolbox(), seed=5, settings=SETTINGS)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [(ANSWER,), ("search", ANSWER), ("python", "search", ANSWER)])
def test_the_action_with_the_greatest_value_is_carried_out(order: tuple[str, ...]) -> None:
    for problem, trajectory in zip(PROBLEMS, played(preferring(*order)), strict=True):
        done = [transition.action for transition in trajectory.transitions]
        usable = [action.decision for action in done if action.stop is None]
        assert usable == list(order[: len(usable)])
        assert usable
        assert trajectory.problem_id == problem.problem_id
        assert trajectory.outcome.success is not None


def test_when_the_calls_are_used_up_only_an_answer_is_left() -> None:
    for trajectory in played(preferring("search")):
        assert len(trajectory.transitions) <= 3
        assert trajectory.outcome.cost.calls <= 2


def test_what_was_played_can_be_replayed() -> None:
    for problem, trajectory in zip(PROBLEMS, played(preferring("search", ANSWER)), strict=True):
        assert replay(trajectory, problem) == trajectory


def test_the_same_seed_plays_the_same() -> None:
    assert played(preferring("search", ANSWER)) == played(preferring("search", ANSWER))


def test_values_of_a_head_are_those_of_state_and_turn_together() -> None:
    toolbox, head = FakeToolbox(), QHead(64, 8, low=0.0, high=1.0, seed=1)
    head.head.outer.weight.data.fill_(0.5)
    seen: list[tuple[Sequence[State], Sequence[Sequence[Proposal]], Sequence[Sequence[float]]]] = []

    def values(states: Sequence[State], proposals: Sequence[Sequence[Proposal]]) -> Sequence[Sequence[float]]:
        found = values_by(policy(), head, toolbox)(states, proposals)  # type: ignore[arg-type]
        seen.append((states, proposals, found))
        return found

    played(values)
    states, proposals, found = seen[0]
    for state, several, row in zip(states, proposals, found, strict=True):
        context = policy().chat.context_ids(state, toolbox.specs(state.problem.tool_names))
        slow = [score_actions(policy(), head, [(*context, *(p.action.message.token_ids or ()))])[0] for p in several]
        assert list(row) == pytest.approx(slow, abs=1e-5)
    assert len({round(v, 4) for row in found for v in row}) > 2
