"""The environment: a state and an action give a transition and the next state.

Takes problems, actions and something that answers calls; gives states, transitions and finished trajectories. Pure but
for the toolbox: the same actions and the same results give the same trajectory, so states are replayed and never
stored. A turn that is unusable ends the trajectory with a `StopReason`; it is never an exception. Does not judge
answers (the checker's verdict is passed to `finish`) and gives no reward. Messages hold plain texts (the prompt, the
turns, the results); how a model is shown them is the grammar's work. Nested calls are played by whoever steps: the
environment says which problem to play (`need_of`) and what its trajectory amounts to (`nested.nested_result`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.environment.nested import nested_problem, nested_result, not_here
from components.environment.stack import answers_subtask, reply_to_answer, reply_to_give_up, reply_to_split, stack_after
from components.schema.cost import NO_COST, Cost
from components.schema.identity import stable_hash
from components.schema.message import Message, ToolCall, ToolResult
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Action, Outcome, State, StopReason, Trajectory, Transition
from components.tools.composite import DELEGATE, GIVE_UP, SPLIT
from components.tools.spec import ToolCaller

Need = ToolCall | Problem | ToolResult | None
"""What a turn needs before the next: a call to be run by tools, a nested problem to be played, nothing more because the
environment itself replies (a result), or nothing at all because the trajectory is over."""
Delegate = Callable[[Sequence[Problem]], Sequence[Trajectory]]
"""Plays nested problems; one trajectory each, in order."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a turn was replied."""

    result: ToolResult | None
    nested: Trajectory | None = None
    """The trajectory behind the result of a delegated call."""


def start(problem: Problem) -> State:
    """The state before the first action."""
    return State(problem=problem, messages=(Message(role="user", content=problem.prompt),))


def step(
    state: State,
    action: Action,
    toolbox: ToolCaller,
    *,
    delegate: Delegate | None = None,
    prompt_tokens: int = 0,
    completion_tokens: int | None = None,
) -> tuple[State, Transition]:
    """The next state, and what the action did; `completion_tokens` is by default the number of the turn's tokens."""
    written = None if completion_tokens is None else (completion_tokens,)
    stepped = step_many(
        [state], [action], toolbox, delegate=delegate, prompt_tokens=(prompt_tokens,), completion_tokens=written
    )
    return stepped[0]


def step_many(
    states: Sequence[State],
    actions: Sequence[Action],
    toolbox: ToolCaller,
    *,
    delegate: Delegate | None = None,
    prompt_tokens: Sequence[int] | None = None,
    completion_tokens: Sequence[int] | None = None,
) -> list[tuple[State, Transition]]:
    """`step` for many states at once; their calls go to the toolbox together, and their nested calls to `delegate`.

    Without `delegate`, nested calls are errors that the policy can read.
    """
    needs = [need_of(state, action, toolbox.charge) for state, action in zip(states, actions, strict=True)]
    answers = iter(toolbox.call_many([need for need in needs if isinstance(need, ToolCall)]))
    problems = [need for need in needs if isinstance(need, Problem)]
    nested = None if delegate is None else iter(delegate(problems) if problems else ())
    read = prompt_tokens or [0] * len(states)
    wrote = completion_tokens or [action.tokens_written for action in actions]
    stepped = []
    for state, action, need, tokens_in, tokens_out in zip(states, actions, needs, read, wrote, strict=True):
        reply = _reply(need, answers, nested, toolbox.charge)
        tokens = Cost(prompt_tokens=tokens_in, completion_tokens=tokens_out)
        stepped.append(after(state, action, reply, tokens))
    return stepped


def _reply(
    need: Need, answers: Iterator[ToolResult], nested: Iterator[Trajectory] | None, charge: Callable[[str], Cost]
) -> Reply:
    if isinstance(need, ToolCall):
        return Reply(next(answers))
    if isinstance(need, Problem):
        return Reply(not_here(charge(DELEGATE))) if nested is None else reply_of(next(nested), charge)
    return Reply(need)


def reply_of(nested: Trajectory, charge: Callable[[str], Cost]) -> Reply:
    """The reply to a delegated call whose nested trajectory is over."""
    return Reply(nested_result(nested, charge(DELEGATE)), nested)


def need_of(state: State, action: Action, charge: Callable[[str], Cost]) -> Need:
    """What this action needs; raises when the trajectory is already over. `charge(name)`: a call's own cost."""
    if state.done:
        raise ValueError(f"the trajectory on problem {state.problem.problem_id} is over; it cannot be stepped")
    if answers_subtask(state, action):
        return reply_to_answer(state, action.message.content)
    call = action.call
    if call is None or _unusable(state.problem, action) is not None or state.calls_left <= 0:
        return None
    if call.name == DELEGATE:
        return nested_problem(state, call, charge(DELEGATE))
    if call.name == SPLIT:
        return reply_to_split(state, call, charge(SPLIT))
    if call.name == GIVE_UP:
        return reply_to_give_up(state, call, charge(GIVE_UP)) if state.stack else None
    return call


def after(state: State, action: Action, reply: Reply, tokens: Cost | None = None) -> tuple[State, Transition]:
    """The state after the action (see `need_of`) that was replied; over when nothing was.

    `tokens`: by default the turn's own tokens as completion.
    """
    result = reply.result
    wrote = Cost(completion_tokens=action.tokens_written) if tokens is None else tokens
    cost = wrote + (NO_COST if result is None else result.cost)
    results = () if result is None else (result,)
    nested = () if reply.nested is None else (reply.nested,)
    transition = Transition(action=action, results=results, cost=cost, nested=nested)
    then = replace(state, messages=(*state.messages, action.message), spent=state.spent + cost)
    if result is None:
        return replace(then, done=True), transition
    shown = Message(role="tool", content=result.content)
    made = () if action.call is None else ((action.call, result),)
    stack = stack_after(state, action, result)
    return replace(then, messages=(*then.messages, shown), calls=(*state.calls, *made), stack=stack), transition


def finish(
    state: State,
    transitions: Sequence[Transition],
    *,
    policy_id: str,
    seed: int,
    success: bool | None,
    forced: Sequence[str] = (),
) -> Trajectory:
    """The finished record; a trajectory that was stopped from outside ends OUT_OF_BUDGET."""
    stop = stop_reason(state, transitions)
    said = stop in (StopReason.ANSWERED, StopReason.TRUNCATED) and transitions[-1].action.decision == ANSWER
    answer = transitions[-1].action.message.content.strip() if said else None
    outcome = Outcome(stop_reason=stop, answer=answer, success=success, cost=state.spent)
    return Trajectory(
        trajectory_id=_identity(state.problem, transitions, policy_id=policy_id, seed=seed, forced=forced),
        problem_id=state.problem.problem_id,
        policy_id=policy_id,
        seed=seed,
        transitions=tuple(transitions),
        outcome=outcome,
        forced=tuple(forced),
    )


def stop_reason(state: State, transitions: Sequence[Transition]) -> StopReason:
    """Why a trajectory with these transitions, which ended in this state, ended."""
    if not transitions or transitions[-1].results:
        return StopReason.OUT_OF_BUDGET
    action = transitions[-1].action
    ended = _unusable(state.problem, action)
    if ended is not None:
        return ended
    if action.call is None:
        return StopReason.ANSWERED
    return StopReason.GAVE_UP if action.call.name == GIVE_UP and not state.stack else StopReason.OUT_OF_BUDGET


def _unusable(problem: Problem, action: Action) -> StopReason | None:
    """Why the turn cannot be acted on; None for an answer with text and for a call to an offered tool."""
    if action.stop is not None:
        return action.stop
    if action.call is None:
        return None if action.message.content.strip() else StopReason.NO_ANSWER
    return None if action.call.name in problem.tool_names else StopReason.MALFORMED


def _identity(
    problem: Problem, transitions: Sequence[Transition], *, policy_id: str, seed: int, forced: Sequence[str]
) -> str:
    """A hash of who acted on what, and of every turn and result, nested ones included."""
    turns: list[Any] = [
        [
            t.action.message.content,
            list(t.action.message.token_ids or ()),
            [r.content for r in t.results],
            *(inner.trajectory_id for inner in t.nested),
        ]
        for t in transitions
    ]
    return stable_hash([problem.problem_id, policy_id, seed, list(forced), turns])
