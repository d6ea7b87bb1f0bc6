"""From records to examples. Takes trajectories, problems and a policy's tokenizer; gives what a trainer learns from.

Encodes people's turns once; policies' turns keep their tokens. What is nested in a trajectory is learnt from like the
rest of it, with its parent's return (`components.reward.credit` says why): nothing nested is dropped. It rolls nothing
out and computes no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from components.policy.chat import Chat
from components.policy.constrained import ArgumentGrammars
from components.policy.encode import encode_answer, encode_trajectory, opening_length
from components.schema.cost import NO_COST
from components.schema.group import Group
from components.schema.message import Message
from components.schema.nested import nested_in
from components.schema.problem import Problem
from components.schema.tool import ToolSpec
from components.schema.trajectory import ANSWER, Action, Outcome, StopReason, Trajectory, Transition
from components.training.advantage import LEAST_ADVANTAGE, advantages
from components.training.episodes import Episode, turn_rewards
from components.training.examples import EVERYTHING, Example, Teach, example
from components.training.inputs import Material
from components.training.settings import Normaliser, ReinforceSettings

ARGUMENTS = Teach(decisions=False, answers=False, inner_answers_as_arguments=True)
"""What a policy gradient learns of a sampled trajectory."""

Specs = Callable[[Sequence[str]], tuple[ToolSpec, ...]]


class Encoder:
    """Turns trajectories into examples with one tokenizer."""

    def __init__(self, chat: Chat, grammars: ArgumentGrammars, specs: Specs) -> None:
        """`specs(names)` gives the tools shown for a problem."""
        self._chat, self._grammars, self._specs = chat, grammars, specs

    def example(self, trajectory: Trajectory, problem: Problem, teach: Teach = EVERYTHING) -> Example:
        """One trajectory on its problem, without what is nested in it."""
        return self._example(trajectory, problem.prompt, problem, teach)

    def examples(self, trajectory: Trajectory, problem: Problem, teach: Teach = EVERYTHING) -> tuple[Example, ...]:
        """The trajectory and, after it, all that is nested in it, at every depth, where it has something to teach."""
        inside = (
            self._example(inner, question, problem, teach, nested=True) for question, inner in _all_nested(trajectory)
        )
        return (self.example(trajectory, problem, teach), *(one for one in inside if one.ids))

    def context(self, problem: Problem) -> tuple[int, ...]:
        """Tokens of the problem's root state."""
        return self._chat.prompt_ids(problem.prompt, self._specs(problem.tool_names), problem.price)

    def _example(
        self, trajectory: Trajectory, prompt: str, problem: Problem, teach: Teach, *, nested: bool = False
    ) -> Example:
        specs = self._specs(problem.tool_names)
        return example(
            self._chat.prompt_ids(prompt, specs, problem.price),
            encode_trajectory(self._chat, self._grammars, trajectory, specs),
            render=self._chat.message_ids,
            opening_length=partial(opening_length, self._chat),
            teach=teach,
            nested=nested,
        )

    def pool(
        self, trajectories: Sequence[Trajectory], problems: Mapping[str, Problem], teach: Teach = EVERYTHING
    ) -> tuple[Example, ...]:
        """All trajectories whose problem is known, with what is nested in them."""
        known = [t for t in trajectories if t.problem_id in problems]
        return tuple(one for t in known for one in self.examples(t, problems[t.problem_id], teach))

    def turns(self, trajectory: Trajectory, problem: Problem) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
        """Of every turn, the tokens of its state and its own; without the turns of what is nested in it."""
        specs = self._specs(problem.tool_names)
        state, turns = self.context(problem), []
        for transition in encode_trajectory(self._chat, self._grammars, trajectory, specs).transitions:
            message = transition.action.message
            turns.append((state, message.token_ids or ()))
            state += self._chat.message_ids(message)
            for result in transition.results:
                state += self._chat.message_ids(Message("tool", result.content))
        return tuple(turns)

    def episode(self, trajectory: Trajectory, problem: Problem, reward: float) -> Episode:
        """The trajectory, which earned `reward`, turn by turn."""
        turns = self.turns(trajectory, problem)
        return Episode(
            states=tuple(state for state, _ in turns),
            turns=tuple(turn for _, turn in turns),
            rewards=turn_rewards(trajectory, reward),
            decision=trajectory.forced[0] if trajectory.forced else trajectory.transitions[0].action.decision,
            arguments=self.examples(trajectory, problem, ARGUMENTS),
        )

    def action(self, before: Sequence[Transition], action: Action, problem: Problem, *, whole: bool) -> Example:
        """An action after `before`: its decision and its arguments, or with `whole` the text of an answer, too."""
        last = Transition(action=action, results=(), cost=NO_COST)
        outcome = Outcome(StopReason.CANCELLED, None, None, NO_COST)
        told = Trajectory("", problem.problem_id, "", 0, (*before, last), outcome)
        return self.example(told, problem, Teach(answers=whole, only_last=True))

    def reference(self, trajectory: Trajectory, problem: Problem) -> Example:
        """The trajectory with the reference as its answer, of which only the answer is learnt."""
        action = encode_answer(self._chat, problem.reference.text)
        before = trajectory.transitions if trajectory.transitions[-1].results else trajectory.transitions[:-1]
        told = replace(trajectory, transitions=(*before, Transition(action=action, results=(), cost=NO_COST)))
        return self.example(told, problem, Teach(decisions=False, arguments=False, answers=True))


def _all_nested(trajectory: Trajectory) -> Iterator[tuple[str, Trajectory]]:
    """Question and trajectory of everything nested in it, at every depth."""
    for question, inner in nested_in(trajectory):
        yield question, inner
        yield from _all_nested(inner)


Repriced = Callable[[Group], Sequence[Group]]
"""A group as it would be under other prices."""


def as_it_is(group: Group) -> Sequence[Group]:
    """The group under the price that it was played at."""
    return (group,)


def material(
    groups: Sequence[Group],
    replay: tuple[int, ...],
    encoder: Encoder,
    settings: ReinforceSettings,
    *,
    repriced: Repriced = as_it_is,
) -> Material:
    """What one reinforcement step learns from its groups: decisions from them all `repriced`, the rest as it is."""
    # every price's roots together: neighbours are different problems, whose turns a conservative critic borrows
    decided = tuple(group for row in zip(*map(repriced, groups), strict=True) for group in row)
    useful = [found for group in groups if (found := _useful(group, settings.least_likelihood)) is not None]
    best = sorted(useful, key=lambda found: -found[0])[: settings.references]
    return Material(
        groups=decided,
        arguments=tuple(one for group in groups for one in _arguments(group, encoder, settings.normaliser)),
        references=tuple(encoder.reference(trajectory, problem) for _, trajectory, problem in best),
        replay=replay,
        episodes=() if settings.form == "policy_gradient" else tuple(_episodes(group, encoder) for group in decided),
    )


def _episodes(group: Group, encoder: Encoder) -> tuple[Episode, ...]:
    return tuple(
        encoder.episode(trajectory, group.problem, reward)
        for trajectory, reward in zip(group.trajectories, group.rewards, strict=True)
    )


def _arguments(group: Group, encoder: Encoder, normaliser: Normaliser) -> list[Example]:
    """Siblings whose reward differs from the others', with what is nested in them, weighted by their advantage.

    A sibling that was cut off before it wrote an argument has nothing to learn from and is left out.
    """
    examples = [
        replace(one, weight=advantage)
        for trajectory, advantage in zip(group.trajectories, advantages(group, normaliser), strict=True)
        if abs(advantage) >= LEAST_ADVANTAGE
        for one in encoder.examples(trajectory, group.problem, ARGUMENTS)
    ]
    return [one for one in examples if one.arguments]


def _useful(group: Group, least: float) -> tuple[float, Trajectory, Problem] | None:
    """The best branch with a useful tool response; the direct branch is never taught the gold: it would memorise it."""
    useful = [
        (reward, trajectory)
        for trajectory, reward, likelihood in zip(group.trajectories, group.rewards, group.likelihoods, strict=True)
        if _answers_after_call(trajectory) and likelihood is not None and likelihood >= least
    ]
    if not useful:
        return None
    reward, trajectory = max(useful, key=lambda pair: pair[0])
    return reward, trajectory, group.problem


def _answers_after_call(trajectory: Trajectory) -> bool:
    """Whether an answer is due, or was given, after calls that worked."""
    results = [result for transition in trajectory.transitions for result in transition.results]
    last = trajectory.transitions[-1]
    due = bool(last.results) or last.action.decision == ANSWER
    return bool(results) and due and not any(result.is_error for result in results)
