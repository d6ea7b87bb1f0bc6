"""Candidate actions for a search. Takes a policy and tool specs; gives proposals with priors. Searches nothing.

The prior of an action is P(its decision) shared evenly among the samples of that decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from components.policy.backend import Backend
from components.policy.turn import GenerateRequest
from components.schema.identity import child_seed
from components.schema.proposal import Proposal
from components.schema.tool import ToolSpec
from components.schema.trajectory import ANSWER, State


class ProposeSettings(Protocol):
    """What of the search's settings concerns proposals."""

    @property
    def arguments_per_tool(self) -> int: ...

    @property
    def temperature(self) -> float: ...


class Proposer:
    """Proposes answers and calls at states, all states of a round in one batch."""

    def __init__(self, policy: Backend, specs: Sequence[ToolSpec], settings: ProposeSettings) -> None:
        self._policy, self._settings = policy, settings
        self._specs = {spec.name: spec for spec in specs}

    def __call__(self, states: Sequence[State], *, seeds: Sequence[int]) -> Sequence[Sequence[Proposal]]:
        roots = [self._request(state, seed) for state, seed in zip(states, seeds, strict=True)]
        probs = [self._allowed(state, p) for state, p in zip(states, self._policy.decide(roots), strict=True)]
        plan = [
            (index, decision, sample)
            for index, allowed in enumerate(probs)
            for decision in allowed
            for sample in range(self._settings.arguments_per_tool)
        ]
        requests = [self._sample(roots[index], decision, sample) for index, decision, sample in plan]
        proposals: list[list[Proposal]] = [[] for _ in states]
        for (index, decision, _), action in zip(plan, self._policy.generate(requests), strict=True):
            prior = probs[index][decision] / self._settings.arguments_per_tool
            proposals[index].append(Proposal(action, prior, len(roots[index].context_ids)))
        return proposals

    def _request(self, state: State, seed: int) -> GenerateRequest:
        specs = tuple(self._specs[name] for name in state.problem.tool_names)
        budget = state.problem.budget
        return GenerateRequest(
            context_ids=self._policy.chat.context_ids(state, specs),
            specs=specs,
            seed=seed,
            max_answer_tokens=budget.max_answer_tokens,
            max_argument_tokens=budget.max_argument_tokens,
            max_context_tokens=budget.max_context_tokens,
        )

    def _allowed(self, state: State, probs: dict[str, float]) -> dict[str, float]:
        """Decisions open at the state: once the calls are used up, only the answer."""
        return {ANSWER: 1.0} if state.calls_left <= 0 else probs

    def _sample(self, root: GenerateRequest, decision: str, sample: int) -> GenerateRequest:
        """The first sample of a decision is greedy, the others are drawn."""
        heat = 0.0 if sample == 0 else self._settings.temperature
        return GenerateRequest(
            context_ids=root.context_ids,
            specs=root.specs,
            decision=decision,
            temperature=heat,
            answer_temperature=heat,
            seed=child_seed(root.seed, decision, sample),
            max_answer_tokens=root.max_answer_tokens,
            max_argument_tokens=root.max_argument_tokens,
            max_context_tokens=root.max_context_tokens,
        )


def make_propose(policy: Backend, specs: Sequence[ToolSpec], settings: ProposeSettings) -> Proposer:
    """The proposals of `policy` with the given tools."""
    return Proposer(policy, specs, settings)
