"""Problems played by Q(s, a): at every state candidates are written, the one with the greatest value is acted on.

Takes a proposer (each decision with its greedy argument, and sampled ones), values of actions, problems and tools;
gives trajectories like any other rollout. All problems go in step, one turn each. It neither learns nor scores rewards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from components.environment.step import finish, start, step_many
from components.policy.heads import QHead, score_actions
from components.policy.policy import Policy
from components.policy.propose import Proposer, make_propose
from components.reward.checkers import check
from components.schema.identity import child_seed
from components.schema.problem import Problem
from components.schema.proposal import Proposal, ProposalRequest
from components.schema.trajectory import ANSWER, Action, State, Trajectory, Transition
from components.tools.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class RerankSettings:
    """Which candidates are written."""

    arguments_per_tool: int = 3
    """Samples of every decision; the first is greedy."""
    temperature: float = 0.7


ValueActions = Callable[[Sequence[State], Sequence[Sequence[Proposal]]], Sequence[Sequence[float]]]
"""Q of every proposal at every state."""


def values_by(policy: Policy, head: QHead, toolbox: Toolbox) -> ValueActions:
    """Values by a Q head on the policy's own features."""

    def values(states: Sequence[State], proposals: Sequence[Sequence[Proposal]]) -> list[list[float]]:
        contexts = [policy.chat.context_ids(s, toolbox.specs(s.problem.tool_names)) for s in states]
        actions = [
            (*context, *(proposal.action.message.token_ids or ()))
            for context, several in zip(contexts, proposals, strict=True)
            for proposal in several
        ]
        scores = iter(score_actions(policy, head, actions))
        return [[next(scores) for _ in several] for several in proposals]

    return values


def rollout_by_q(
    policy: Policy,
    value_actions: ValueActions,
    problems: Sequence[Problem],
    toolbox: Toolbox,
    *,
    seed: int,
    force: tuple[str, ...] = (),
    settings: RerankSettings = RerankSettings(),
) -> tuple[Trajectory, ...]:
    """One trajectory a problem, in order, acting by argmax over candidates; ties go to the candidate written first.

    `force`: decisions of the first turns, of whose candidates the best is taken. Nested calls are played by Q, too.
    """
    states = [start(problem) for problem in problems]
    seeds = [child_seed(seed, problem.problem_id, place) for place, problem in enumerate(problems)]
    transitions: list[tuple[Transition, ...]] = [()] * len(problems)
    propose = make_propose(policy, toolbox.specs(), settings)

    def delegate(nested: Sequence[Problem]) -> tuple[Trajectory, ...]:
        return rollout_by_q(policy, value_actions, nested, toolbox, seed=child_seed(seed, "nested"), settings=settings)

    while going := [number for number, state in enumerate(states) if not state.done]:
        present = [states[number] for number in going]
        requests = [ProposalRequest(states[n], child_seed(seeds[n], len(transitions[n]))) for n in going]
        turns = [force[len(transitions[number]) :] for number in going]
        proposals = _candidates(propose, requests, turns, settings.arguments_per_tool)
        values = value_actions(present, proposals)
        actions = [_best(several, q) for several, q in zip(proposals, values, strict=True)]
        stepped = step_many(present, actions, toolbox, delegate=delegate)
        for number, (state, transition) in zip(going, stepped, strict=True):
            states[number], transitions[number] = state, (*transitions[number], transition)
    return tuple(
        finish(
            state, done, policy_id=policy.policy_id, seed=one, success=_success(state, done[-1].action), forced=force
        )
        for state, done, one in zip(states, transitions, seeds, strict=True)
    )


def _candidates(
    propose: Proposer, requests: Sequence[ProposalRequest], forced: Sequence[tuple[str, ...]], samples: int
) -> list[list[Proposal]]:
    """Candidates at each state: of every decision, or of the next forced one alone while calls are left."""
    asked = [
        [replace(request, decision=left[0], drawn=drawn) for drawn in range(samples)]
        if left and request.state.calls_left > 0
        else [request]
        for request, left in zip(requests, forced, strict=True)
    ]
    found = iter(propose([one for several in asked for one in several]))
    return [[proposal for _ in several for proposal in next(found)] for several in asked]


def _best(proposals: Sequence[Proposal], values: Sequence[float]) -> Action:
    """The usable action with the greatest value; a turn that was cut off or refused only where there is no other."""
    order = sorted(range(len(proposals)), key=lambda i: (proposals[i].action.stop is not None, -values[i]))
    return proposals[order[0]].action


def _success(state: State, last: Action) -> bool | None:
    """The checker's verdict; None when nobody knows the answer."""
    if not state.problem.reference.answer:
        return None
    answer = state.messages[-1].content if last.decision == ANSWER else None
    return check(state.problem, answer) if answer else False
