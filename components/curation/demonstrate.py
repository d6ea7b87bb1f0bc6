"""Annotated calls, replayed with real results. Takes problems, annotated steps and a toolbox; gives trajectories.

People's turns have no token ids: the trainer encodes them. A nested question is played as somebody showed it
elsewhere; nobody's makes the call fail. It judges nothing but success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.environment.step import finish, start, step_many
from components.reward.checkers import check
from components.schema.annotation import AnnotatedAnswer, AnnotatedCall
from components.schema.message import Message, ToolCall
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Action, State, Trajectory, Transition
from components.tools.grammar import render_call
from components.tools.spec import ToolCaller

HUMAN = "human"
BASE = "base"


@dataclass(frozen=True, slots=True)
class Script:
    """What somebody did on a problem."""

    problem: Problem
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Played:
    """A script with the tools' results."""

    state: State
    transitions: tuple[Transition, ...]


def call_action(call: AnnotatedCall) -> Action:
    """The action of a person who made this call."""
    made = ToolCall(call.tool, call.arguments)
    message = Message("assistant", render_call(made))
    return Action(message=message, decision=call.tool, written=(), logprobs=None, call=made)


def answer_action(answer: str) -> Action:
    """The action of a person who answered."""
    return Action(message=Message("assistant", answer), decision=ANSWER, written=(), logprobs=None)


def action_of(choice: AnnotatedCall | AnnotatedAnswer) -> Action:
    """The action of a person's choice."""
    return call_action(choice) if isinstance(choice, AnnotatedCall) else answer_action(choice.answer)


Known = Mapping[str, tuple[Action, ...]]
"""Prompts to what somebody did on them, the answer included."""
NOTHING_KNOWN: Known = {}


def play_all(scripts: Sequence[Script], toolbox: ToolCaller, known: Known = NOTHING_KNOWN) -> tuple[Played, ...]:
    """Every script stepped through, the calls of one turn together; a script stops where its state is done.

    `known`: how nested questions are worked on.
    """

    def delegate(problems: Sequence[Problem]) -> tuple[Trajectory, ...]:
        nested = [Script(problem, known.get(problem.prompt, ())) for problem in problems]
        return tuple(
            finish(played.state, played.transitions, policy_id=HUMAN, seed=0, success=None)
            for played in play_all(nested, toolbox, known)
        )

    states = [start(script.problem) for script in scripts]
    transitions: list[list[Transition]] = [[] for _ in scripts]
    for turn in range(max((len(script.actions) for script in scripts), default=0)):
        live = [i for i, script in enumerate(scripts) if turn < len(script.actions) and not states[i].done]
        actions = [scripts[i].actions[turn] for i in live]
        stepped = step_many([states[i] for i in live], actions, toolbox, delegate=delegate)
        for index, (state, transition) in zip(live, stepped, strict=True):
            states[index] = state
            transitions[index].append(transition)
    return tuple(Played(state, tuple(made)) for state, made in zip(states, transitions, strict=True))


def trajectories(
    scripts: Sequence[Script], toolbox: ToolCaller, *, policy_id: str, known: Known = NOTHING_KNOWN
) -> tuple[Trajectory, ...]:
    """Finished trajectories of scripts that end with an answer."""
    return tuple(
        finish(
            played.state,
            played.transitions,
            policy_id=policy_id,
            seed=0,
            success=check(script.problem, played.transitions[-1].action.message.content),
        )
        for script, played in zip(scripts, play_all(scripts, toolbox, known), strict=True)
    )


def direct(problem: Problem, answer: str) -> Script:
    """Answering at once, without a tool."""
    return Script(problem, (answer_action(answer),))
