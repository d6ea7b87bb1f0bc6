"""What a search asks of a policy: candidate actions with priors, one acted turn, and estimates of states.

Takes a policy and tool specs; gives proposals, actions and estimates. The prior of an action is P(its decision) shared
evenly among the samples of that decision. What is computed here is kept for the states that follow. Searches nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from components.policy.backend import Backend
from components.policy.floor import Floor
from components.policy.generate import one_turn
from components.policy.policy import Policy
from components.policy.turn import GenerateRequest, ScoreRequest
from components.schema.identity import child_seed
from components.schema.proposal import Choice, Proposal, ProposalRequest
from components.schema.tool import ToolSpec
from components.schema.trajectory import ANSWER, Action, State

Estimates = list[tuple[float, float]]
"""For each state: the chance of a correct answer, and the units of the price sheet still to be spent."""
Heads = Callable[[Tensor], tuple[Tensor, Tensor]]
"""[N, hidden] final hidden states -> chance [N] in (0, 1) and cost to go [N] >= 0."""


class ProposeSettings(Protocol):
    """What of the search's settings concerns proposals."""

    @property
    def arguments_per_tool(self) -> int: ...

    @property
    def temperature(self) -> float: ...


class Proposer:
    """Speaks for a policy in a search, all states of a round in one batch."""

    def __init__(self, policy: Backend, specs: Sequence[ToolSpec], settings: ProposeSettings) -> None:
        self._policy, self._settings = policy, settings
        self._specs = {spec.name: spec for spec in specs}

    def __call__(self, requests: Sequence[ProposalRequest]) -> list[list[Proposal]]:
        """Candidate actions for each request: all decisions at new states, one sample where more of one is wanted."""
        roots = [self._request(request.state, request.seed) for request in requests]
        new = [index for index, request in enumerate(requests) if request.decision is None]
        probs = dict(zip(new, self._policy.decide([roots[index] for index in new]), strict=True))
        plan: list[tuple[int, str, int, float]] = []
        for index, request in enumerate(requests):
            if request.decision is None:
                each = self._settings.arguments_per_tool
                allowed = self._allowed(request.state, probs[index])
                plan += [(index, name, sample, p / each) for name, p in allowed.items() for sample in range(each)]
            else:
                plan.append((index, request.decision, request.drawn, 1.0))
        written = self._policy.generate([self._sample(roots[index], name, sample) for index, name, sample, _ in plan])
        proposals: list[list[Proposal]] = [[] for _ in requests]
        for (index, _, _, prior), action in zip(plan, written, strict=True):
            proposals[index].append(Proposal(action, prior, len(roots[index].context_ids)))
        return proposals

    def decide(self, states: Sequence[State]) -> list[Choice]:
        """P of each decision that is open at each state; nothing is written."""
        roots = [self._request(state, 0) for state in states]
        return [
            Choice(self._allowed(state, probs), len(root.context_ids))
            for state, root, probs in zip(states, roots, self._policy.decide(roots), strict=True)
        ]

    def act(self, states: Sequence[State], *, seeds: Sequence[int]) -> list[Proposal]:
        """One turn at each state as the policy samples it: decision, then arguments or answer. Its prior is 1."""
        heat = self._settings.temperature
        requests = [
            replace(
                self._request(state, seed),
                decision=ANSWER if state.calls_left <= 0 else None,
                temperature=heat,
                answer_temperature=heat,
                decision_temperature=heat,
            )
            for state, seed in zip(states, seeds, strict=True)
        ]
        actions = self._policy.generate(requests)
        return [Proposal(action, 1.0, len(r.context_ids)) for action, r in zip(actions, requests, strict=True)]

    def pen(self, policy: Policy, trees: int) -> Pen:
        """What writes for `trees` trees, each at its own pace, in rows that `policy` sets apart."""
        return Pen(policy.beside(trees), self._asked)

    def _asked(self, request: ProposalRequest) -> GenerateRequest:
        """One sample of a decision."""
        assert request.decision is not None, "only samples are written one by one"
        return self._sample(self._request(request.state, request.seed), request.decision, request.drawn)

    def values_by(self, policy: Policy, heads: Heads) -> Callable[[Sequence[State]], Estimates]:
        """Estimates by heads on the hidden state at the end of each context; `policy` shows it, where it runs here."""

        def values(states: Sequence[State]) -> Estimates:
            with torch.no_grad():
                chances, costs = heads(self.features(policy, states))
            return list(zip(chances.tolist(), costs.tolist(), strict=True))

        return values

    def features(self, policy: Policy, states: Sequence[State]) -> Tensor:
        """[N, hidden] final hidden states at the end of each state's context, as `policy` shows them."""
        return policy.hidden([self._request(state, 0) for state in states])

    def likelihoods(self, states: Sequence[State]) -> Estimates:
        """How likely the policy finds the reference at each state, as the mean probability of its tokens (1/PPL).

        Needs no training, but knows the answer: for self-play on train problems only. Costs are not foreseen.
        """
        scored = []
        for state in states:
            context = self._request(state, 0).context_ids
            scored.append(ScoreRequest(context + self._policy.chat.encode(state.problem.reference.text), len(context)))
        return [(math.exp(sum(logs) / len(logs)), 0.0) for logs in self._policy.score(scored)]

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
            at_root=state.is_root,
            keep=True,
        )

    def _allowed(self, state: State, probs: dict[str, float]) -> dict[str, float]:
        """Decisions open at the state: once the calls are used up, only the answer."""
        return {ANSWER: 1.0} if state.calls_left <= 0 else probs

    def _sample(self, root: GenerateRequest, decision: str, sample: int) -> GenerateRequest:
        """The first sample of a decision is greedy, the others are drawn."""
        heat = 0.0 if sample == 0 else self._settings.temperature
        seed = child_seed(root.seed, decision, sample)
        return replace(root, decision=decision, temperature=heat, answer_temperature=heat, seed=seed)


class Pen:
    """Goes on writing for some trees while others are ahead (`components.search.pen`)."""

    def __init__(self, floor: Floor, asked: Callable[[ProposalRequest], GenerateRequest]) -> None:
        self._floor, self._asked = floor, asked
        self._begun: dict[int, list[Proposal | None]] = {}
        """By key, in order of beginning: what was written for each request; None is still to come."""

    def begin(self, key: int, requests: Sequence[ProposalRequest]) -> None:
        """Ask for samples of decisions, perhaps none."""
        proposals: list[Proposal | None] = [None] * len(requests)
        self._begun[key] = proposals
        for place, request in enumerate(map(self._asked, requests)):
            self._floor.add(one_turn(request), self._take(proposals, place, len(request.context_ids)))

    def _take(self, proposals: list[Proposal | None], place: int, read: int) -> Callable[[Action], None]:
        def take(action: Action) -> None:
            proposals[place] = Proposal(action, 1.0, read)

        return take

    @torch.no_grad()
    def written(self) -> list[tuple[int, list[Proposal]]]:
        """The keys whose requests are all answered, each told once; some rounds are made until there is one."""
        while self._begun:
            known = {key: [one for one in some if one is not None] for key, some in self._begun.items()}
            whole = [(key, some) for key, some in known.items() if len(some) == len(self._begun[key])]
            if whole:
                for key, _ in whole:
                    del self._begun[key]
                return whole
            self._floor.round()
        return []


def make_propose(policy: Backend, specs: Sequence[ToolSpec], settings: ProposeSettings) -> Proposer:
    """The voice of `policy` with the given tools."""
    return Proposer(policy, specs, settings)
