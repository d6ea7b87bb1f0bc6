"""The environment: a state and an action give a transition and the next state.

Takes problems, actions and something that answers calls; gives states, transitions and finished trajectories. Pure but
for the toolbox: the same actions and the same results give the same trajectory, so states are replayed and never
stored. A turn that is unusable ends the trajectory with a `StopReason`; it is never an exception. Does not judge
answers (the checker's verdict is passed to `finish`) and gives no reward. Messages hold plain texts (the prompt, the
turns, the results); how a model is shown them is the grammar's work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from components.schema.cost import NO_COST, Cost
from components.schema.identity import stable_hash
from components.schema.message import Message, ToolCall, ToolResult
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Action, Outcome, State, StopReason, Trajectory, Transition
from components.tools.spec import ToolCaller


def start(problem: Problem) -> State:
    """The state before the first action."""
    return State(problem=problem, messages=(Message(role="user", content=problem.prompt),))


def step(
    state: State,
    action: Action,
    toolbox: ToolCaller,
    *,
    prompt_tokens: int = 0,
    completion_tokens: int | None = None,
) -> tuple[State, Transition]:
    """The next state, and what the action did; `completion_tokens` is by default the number of the turn's tokens."""
    written = None if completion_tokens is None else (completion_tokens,)
    stepped = step_many([state], [action], toolbox, prompt_tokens=(prompt_tokens,), completion_tokens=written)
    return stepped[0]


def step_many(
    states: Sequence[State],
    actions: Sequence[Action],
    toolbox: ToolCaller,
    *,
    prompt_tokens: Sequence[int] | None = None,
    completion_tokens: Sequence[int] | None = None,
) -> list[tuple[State, Transition]]:
    """`step` for many states at once; their calls go to the toolbox together."""
    calls = [call_to_run(state, action) for state, action in zip(states, actions, strict=True)]
    answers = iter(toolbox.call_many([call for call in calls if call is not None]))
    read = prompt_tokens or [0] * len(states)
    wrote = completion_tokens or [len(action.message.token_ids or ()) for action in actions]
    stepped = []
    for state, action, call, tokens_in, tokens_out in zip(states, actions, calls, read, wrote, strict=True):
        result = None if call is None else next(answers)
        tokens = Cost(prompt_tokens=tokens_in, completion_tokens=tokens_out)
        stepped.append(after(state, action, result, tokens))
    return stepped


def call_to_run(state: State, action: Action) -> ToolCall | None:
    """The call that this action makes, if it may; raises when the trajectory is already over."""
    if state.done:
        raise ValueError(f"the trajectory on problem {state.problem.problem_id} is over; it cannot be stepped")
    if _unusable(state.problem, action) is not None:
        return None
    return action.call if len(state.calls) < state.problem.budget.max_calls else None


def after(
    state: State, action: Action, result: ToolResult | None, tokens: Cost | None = None
) -> tuple[State, Transition]:
    """The state after the action whose call (see `call_to_run`) gave `result`; over unless a call was run.

    `tokens`: by default the turn's own tokens as completion.
    """
    wrote = Cost(completion_tokens=len(action.message.token_ids or ())) if tokens is None else tokens
    cost = wrote + (NO_COST if result is None else result.cost)
    results = () if result is None else (result,)
    transition = Transition(action=action, results=results, cost=cost)
    then = replace(state, messages=(*state.messages, action.message), spent=state.spent + cost)
    if action.call is None or result is None:
        return replace(then, done=True), transition
    shown = Message(role="tool", content=result.content)
    return replace(then, messages=(*then.messages, shown), calls=(*state.calls, (action.call, result))), transition


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
    stop = stop_reason(state.problem, transitions)
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


def stop_reason(problem: Problem, transitions: Sequence[Transition]) -> StopReason:
    """Why a trajectory with these transitions ended."""
    if not transitions:
        return StopReason.OUT_OF_BUDGET
    last = transitions[-1]
    ended = _unusable(problem, last.action)
    if ended is not None:
        return ended
    return StopReason.OUT_OF_BUDGET if last.action.call is not None else StopReason.ANSWERED


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
    """A hash of who acted on what, and of every turn and result."""
    turns: list[Any] = [
        [t.action.message.content, list(t.action.message.token_ids or ()), [r.content for r in t.results]]
        for t in transitions
    ]
    return stable_hash([problem.problem_id, policy_id, seed, list(forced), turns])
