"""Rollouts: problems played to the end by a policy with tools. Takes policy, problems and toolbox; gives trajectories.

Every problem is a conversation with the policy; while the tools of one work, the others go on writing. A nested call
is a conversation inside its parent's, so that its turns are written side by side with everybody else's. Answers are
judged by the checker, where the answer is known; no reward is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from components.environment.step import Reply, after, finish, need_of, reply_of, start
from components.policy.backend import Backend
from components.policy.floor import Talk
from components.policy.turn import GenerateRequest
from components.reward.checkers import check
from components.schema.identity import child_seed
from components.schema.message import ToolCall
from components.schema.problem import Problem
from components.schema.tool import ToolSpec
from components.schema.trajectory import ANSWER, Action, State, Trajectory, Transition
from components.tools.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """How a policy acts. The defaults are acting at its best: greedy decisions, then greedy tokens."""

    temperature: float = 0.0
    """Of argument tokens."""
    answer_temperature: float = 0.0
    decision_temperature: float = 0.0
    max_tokens: int | None = None
    """Limit of every turn on top of the problem's budget; None leaves the budget alone."""
    show_tools: bool = True
    """False plays the bare model: no tool in the prompt, so every turn is an answer."""
    stop_at_results: bool = False
    """True ends a play when its first call has its results: no answer is written, so none is judged."""


@dataclass(slots=True)
class _Play:
    """One problem being played."""

    state: State
    force: tuple[str, ...]
    settings: RolloutSettings
    seed: int
    transitions: tuple[Transition, ...] = ()


def rollout(
    policy: Backend,
    problems: Sequence[Problem],
    toolbox: Toolbox,
    *,
    seed: int,
    force: Sequence[tuple[str, ...]] | tuple[str, ...] = (),
    settings: RolloutSettings | Sequence[RolloutSettings] = RolloutSettings(),
    on_done: Callable[[int], None] = lambda done: None,
) -> tuple[Trajectory, ...]:
    """One trajectory a problem, in order. The same problem may occur several times: each occurrence has its own seed.

    `force`: decisions of the first turns, for all problems (("search",)) or one tuple a problem; then it acts freely.
    `settings`, too, are for all or one a problem.
    `on_done` is told how many problems are done.
    """
    forces = [tuple(force)] * len(problems) if not force or isinstance(force[0], str) else [tuple(f) for f in force]
    ways = [settings] * len(problems) if isinstance(settings, RolloutSettings) else list(settings)
    seen: dict[str, int] = {}
    plays = []
    for problem, forced, way in zip(problems, forces, ways, strict=True):
        copy = seen[problem.problem_id] = seen.get(problem.problem_id, -1) + 1
        plays.append(_Play(start(problem), forced, way, child_seed(seed, problem.problem_id, copy)))  # type: ignore[arg-type]
    finished = 0

    def told(play: _Play) -> Talk[Trajectory]:
        nonlocal finished
        trajectory = yield from _talk(policy, play, toolbox)
        finished += 1
        on_done(finished)
        return trajectory

    return tuple(policy.converse([told(play) for play in plays]))


def conversation(
    policy: Backend, problem: Problem, toolbox: Toolbox, *, settings: RolloutSettings, seed: int
) -> Talk[Trajectory]:
    """One problem as a conversation with the policy, for whoever has other conversations beside it."""
    return _talk(policy, _Play(start(problem), (), settings, seed), toolbox)


def _talk(policy: Backend, play: _Play, toolbox: Toolbox) -> Talk[Trajectory]:
    while not play.state.done:
        action: Action = yield _request(policy, play, toolbox)
        reply = yield from _reply(policy, play, action, toolbox)
        play.state, transition = after(play.state, action, reply)
        play.transitions = (*play.transitions, transition)
        if play.settings.stop_at_results and transition.results:
            play.state = replace(play.state, done=True)
    return _finish(play, policy.policy_id)


def _reply(policy: Backend, play: _Play, action: Action, toolbox: Toolbox) -> Talk[Reply]:
    need = need_of(play.state, action, toolbox.charge)
    if isinstance(need, Problem):
        nested = yield from _talk(policy, _nested(play, need), toolbox)
        return reply_of(nested, toolbox.charge)
    if isinstance(need, ToolCall):
        need = yield toolbox.submit(need)
    return Reply(need)


def _nested(play: _Play, problem: Problem) -> _Play:
    """The play of a nested call; its answer is a means, like an argument, and drawn at the arguments' temperature."""
    settings = replace(play.settings, stop_at_results=False, answer_temperature=play.settings.temperature)
    return _Play(start(problem), (), settings, child_seed(play.seed, "nested", len(play.transitions)))


def _request(policy: Backend, play: _Play, toolbox: Toolbox) -> GenerateRequest:
    left = play.force[len(play.transitions) :]
    return request_of(policy, play.state, toolbox, play.settings, seed=play.seed, force=left)


def request_of(
    policy: Backend,
    state: State,
    toolbox: Toolbox,
    settings: RolloutSettings,
    *,
    seed: int,
    force: tuple[str, ...] = (),
) -> GenerateRequest:
    """What to ask of the policy at `state`; when its calls are used up, only an answer is left."""
    problem, budget = state.problem, state.problem.budget
    specs: tuple[ToolSpec, ...] = tuple(toolbox.specs(problem.tool_names)) if settings.show_tools else ()
    spent = state.calls_left <= 0
    return GenerateRequest(
        context_ids=policy.chat.context_ids(state, specs),
        specs=specs,
        decision=ANSWER if spent or not specs else (force[0] if force else None),
        temperature=settings.temperature,
        answer_temperature=settings.answer_temperature,
        decision_temperature=settings.decision_temperature,
        seed=child_seed(seed, len(state.messages)),
        max_answer_tokens=min(budget.max_answer_tokens, settings.max_tokens or budget.max_answer_tokens),
        max_argument_tokens=min(budget.max_argument_tokens, settings.max_tokens or budget.max_argument_tokens),
        max_context_tokens=budget.max_context_tokens,
        at_root=state.is_root,
    )


def _finish(play: _Play, policy_id: str) -> Trajectory:
    return finish(
        play.state,
        play.transitions,
        policy_id=policy_id,
        seed=play.seed,
        success=_success(play),
        forced=play.force,
    )


def _success(play: _Play) -> bool | None:
    """The checker's verdict; None when nobody knows the answer, or the play was stopped before one was due."""
    if not play.state.problem.reference.answer:
        return None
    if not play.transitions:
        return False
    last = play.transitions[-1]
    if last.results and play.settings.stop_at_results:
        return None
    answer = play.state.messages[-1].content if last.action.decision == ANSWER else None
    return check(play.state.problem, answer) if answer else False
