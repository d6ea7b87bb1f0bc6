"""The untrained loop (DESIGN 1, row 16): a model works down a task stack with plain prompts, as AutoGPT does.

Takes a policy (the base model, as a rule), problems and a toolbox; gives trajectories under the environment, tools,
prices and checkers of any rollout, so that they compare, replay and are shown alike. Plan: the question is split into
steps. Act: each step is searched, computed, answered or given up. Combine: the question is answered from the notes.
It is a baseline to beat: nothing is trained, decisions are written as words and not under the grammar. Unlike AutoGPT
it plans once, and it does not criticise its own plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from components.environment.step import Reply, after, finish, need_of, start
from components.policy.backend import Backend
from components.policy.chat import Chat
from components.policy.direct import first_sentence
from components.policy.encode import encode_answer
from components.policy.floor import Talk
from components.policy.turn import GenerateRequest
from components.reward.checkers import check
from components.rollout.plain_prompts import (
    ANSWER_WORD,
    COMBINE_SHOTS,
    FIRST_SHOTS,
    NEXT_SHOTS,
    PLAN_SHOTS,
    Shots,
    act_prompt,
    combine_prompt,
    plan_prompt,
    read_line,
    read_steps,
)
from components.schema.cost import Cost
from components.schema.identity import child_seed
from components.schema.message import Message, ToolCall
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Action, State, StopReason, Trajectory, Transition
from components.tools.composite import GIVE_UP, SPLIT, offered
from components.tools.settings import CompositeSettings
from components.tools.toolbox import Toolbox

POLICY_ID = "plain-loop"


@dataclass(frozen=True, slots=True)
class PlainLoop:
    """How far the loop may go."""

    steps: int = 3
    """Steps of a plan, at most."""
    calls_per_step: int = 2
    """Searches and computations for one step."""
    plan_tokens: int = 72
    line_tokens: int = 40
    """Tokens of every other text."""
    context_tokens: int = 1024


@dataclass(slots=True)
class _Desk:
    """What lies on the table while one problem is worked on."""

    state: State
    transitions: list[Transition] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    """Results of the steps so far."""
    found: list[str] = field(default_factory=list)
    """What tools said for the present step."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A prompt after worked examples, with the words that the reply must begin with."""

    shots: Shots
    prompt: str
    opening: str
    max_tokens: int


def with_stack(problem: Problem, loop: PlainLoop) -> Problem:
    """The problem as the loop plays it: it may split and give up, and has the calls for its steps. Replays need it."""
    calls = 1 + loop.steps * (loop.calls_per_step + 1)
    settings = CompositeSettings(tools=("split", "give_up"), max_calls=calls, width=max(loop.steps, 1), stack=1)
    return offered(problem, settings)


def plain_loop(
    policy: Backend, problems: Sequence[Problem], toolbox: Toolbox, *, seed: int, loop: PlainLoop = PlainLoop()
) -> tuple[Trajectory, ...]:
    """One trajectory a problem, in order; greedy, so that the seed only names it."""
    desks = [_Desk(start(with_stack(problem, loop))) for problem in problems]
    return tuple(policy.converse([_talk(policy, desk, toolbox, loop, seed) for desk in desks]))


def _talk(policy: Backend, desk: _Desk, toolbox: Toolbox, loop: PlainLoop, seed: int) -> Talk[Trajectory]:
    while not desk.state.done:
        asked = _ask(desk, loop)
        context = _context(policy.chat, asked)
        written: Action = yield GenerateRequest(
            context, (), max_answer_tokens=asked.max_tokens, max_context_tokens=loop.context_tokens
        )
        action = _meant(written, asked, desk.state, loop)
        need = need_of(desk.state, action, toolbox.charge)
        if isinstance(need, ToolCall):
            need = yield toolbox.submit(need)
        assert not isinstance(need, Problem), "the loop delegates nothing"
        tokens = Cost(prompt_tokens=len(context), completion_tokens=len(written.message.token_ids or ()))
        _note(desk, action, Reply(need), tokens)
    return _finished(desk, f"{POLICY_ID}:{policy.policy_id}", seed)


def _ask(desk: _Desk, loop: PlainLoop) -> _Asked:
    """Plan, act or combine, as the stack says."""
    state, question = desk.state, desk.state.problem.prompt
    if state.stack:
        plan = state.stack[-1]
        used_up = len(desk.found) >= loop.calls_per_step or state.calls_left <= 0
        prompt = act_prompt(plan.tasks[len(plan.results)], known=desk.known, found=desk.found)
        shots = NEXT_SHOTS if desk.found else FIRST_SHOTS
        return _Asked(shots, prompt, ANSWER_WORD if used_up else "", loop.line_tokens)
    if not state.calls:
        return _Asked(PLAN_SHOTS, plan_prompt(question), "1.", loop.plan_tokens)
    return _Asked(COMBINE_SHOTS, combine_prompt(question, known=desk.known), "", loop.line_tokens)


def _context(chat: Chat, asked: _Asked) -> tuple[int, ...]:
    """The examples as turns of the conversation, then the prompt and the opening of the reply."""
    ids: tuple[int, ...] = ()
    for question, answer in asked.shots:
        ids += chat.prompt_ids(question, ()) + chat.message_ids(encode_answer(chat, answer).message)
    return ids + chat.prompt_ids(asked.prompt, ()) + chat.encode(asked.opening)


def _meant(written: Action, asked: _Asked, state: State, loop: PlainLoop) -> Action:
    """The turn as an action; the tokens stay those that were written. A text that was cut off is read as far as it
    goes; one that could not be written at all stays what it is."""
    if written.stop not in (None, StopReason.TRUNCATED) or not written.message.token_ids:
        return written
    text, names = written.message.content, state.problem.tool_names
    if state.stack:
        said = read_line(f"{asked.opening} {text}", tool_names=names)
        return _action(written, said.call, said.answer)
    if not state.calls:
        steps = read_steps(text, most=loop.steps) or [state.problem.prompt]
        return _action(written, ToolCall(SPLIT, {"tasks": steps}), "")
    return _action(written, None, text)


def _action(written: Action, call: ToolCall | None, answer: str) -> Action:
    said = written.message.content if call is not None else first_sentence(answer)
    message = Message("assistant", said, written.message.token_ids)
    decision = ANSWER if call is None else call.name
    return Action(message, decision, written.written, written.logprobs, call=call)


def _note(desk: _Desk, action: Action, reply: Reply, tokens: Cost) -> None:
    """Step, and write down what is known now."""
    before = desk.state
    desk.state, transition = after(before, action, reply, tokens)
    desk.transitions.append(transition)
    if not before.stack or reply.result is None:
        return
    plan = before.stack[-1]
    task = plan.tasks[len(plan.results)]
    if action.call is None:
        desk.known.append(f"{task} {' '.join(action.message.content.split())}")
        desk.found.clear()
    elif action.call.name == GIVE_UP:
        desk.found.clear()
    else:
        desk.found.append(reply.result.content)


def _finished(desk: _Desk, policy_id: str, seed: int) -> Trajectory:
    problem, last = desk.state.problem, desk.transitions[-1].action
    answered = last.decision == ANSWER and last.stop is None and bool(last.message.content.strip())
    return finish(
        desk.state,
        desk.transitions,
        policy_id=policy_id,
        seed=child_seed(seed, problem.problem_id),
        success=answered and check(problem, last.message.content),
    )
