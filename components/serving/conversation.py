"""One request played: the composite decides, calls the server's tools and answers, or asks the client for a call.

Takes what was asked, a policy and a toolbox; gives a conversation for an engine, which returns the `Answer`. A call to
a tool of the client ends the play. The environment's rules hold as in training. Judges nothing and records nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from components.environment.step import Reply, after, need_of, reply_of, stop_reason
from components.policy.backend import Backend
from components.policy.floor import R, Talk
from components.policy.turn import GenerateRequest
from components.rollout.play import RolloutSettings, conversation
from components.schema.cost import Cost
from components.schema.identity import child_seed
from components.schema.message import ToolCall, ToolResult
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Action, State, StopReason, Transition
from components.serving.asking import Asked
from components.tools.toolbox import Toolbox

Hear = Callable[[Sequence[int]], None]
"""Is told the next tokens of the final answer as they are written."""
TakeTurn = Callable[[GenerateRequest, State], Talk[Action]]
"""How the action at a state comes about."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request came to."""

    text: str | None
    """The answer; None when there is none."""
    call: ToolCall | None
    """The call that the client is to make; None when it is not its turn."""
    stop: StopReason
    """Why the play ended; ANSWERED, too, when the client is to make a call."""
    reason: str
    """Why there is no answer, in words."""
    cost: Cost
    calls: tuple[tuple[ToolCall, ToolResult], ...]
    """The server's own calls with their results."""
    decisions: tuple[str, ...]

    @property
    def invalid(self) -> bool:
        """Whether a turn was neither a valid call nor an answer."""
        return self.stop in (StopReason.MALFORMED, StopReason.NO_ANSWER)


def freely(request: GenerateRequest, state: State) -> Talk[Action]:
    """The policy's own decision and text."""
    action: Action = yield request
    return action


def play(
    backend: Backend,
    toolbox: Toolbox,
    asked: Asked,
    *,
    take_turn: TakeTurn = freely,
    hear: Hear | None = None,
    cancelled: threading.Event | None = None,
) -> Talk[Answer]:
    """The request as a conversation; `cancelled` is set by whoever wants the answer no more."""
    state, transitions = asked.state, list[Transition]()
    read = 0
    while not state.done:
        request = _request(backend, asked, state, first=not transitions, hear=hear, cancelled=cancelled)
        read = read or len(request.context_ids)
        action = yield from take_turn(request, state)
        if action.stop is None and action.call is not None and action.call.name in asked.client:
            wrote = Cost(completion_tokens=action.tokens_written)
            return _answer(state, transitions, action, cost=state.spent + wrote + Cost(prompt_tokens=read))
        reply = yield from _reply(backend, toolbox, asked, state, action, len(transitions), cancelled)
        state, transition = after(state, action, reply)
        transitions.append(transition)
    return _answer(state, transitions, None, cost=state.spent + Cost(prompt_tokens=read))


def _request(
    backend: Backend,
    asked: Asked,
    state: State,
    *,
    first: bool,
    hear: Hear | None,
    cancelled: threading.Event | None,
) -> GenerateRequest:
    budget, choice = state.problem.budget, asked.choice if first else None
    closed = asked.choice == "none" or not asked.specs or (state.calls_left <= 0 and choice is None)
    named = None if choice in (None, "none", "required") else choice

    def heard(decision: str, tokens: Sequence[int]) -> None:
        if decision == ANSWER and hear is not None:
            hear(tokens)

    return GenerateRequest(
        context_ids=backend.chat.context_ids(state, asked.specs),
        specs=asked.specs,
        decision=ANSWER if closed else named,
        must_call=choice == "required",
        temperature=asked.temperature,
        answer_temperature=asked.temperature,
        seed=child_seed(asked.seed, len(state.messages)),
        max_answer_tokens=budget.max_answer_tokens,
        max_argument_tokens=budget.max_argument_tokens,
        max_context_tokens=budget.max_context_tokens,
        at_root=state.is_root,
        # the answer to a sub-task is not the client's
        heard=None if hear is None or state.stack else heard,
        cancelled=cancelled,
    )


def _reply(
    backend: Backend,
    toolbox: Toolbox,
    asked: Asked,
    state: State,
    action: Action,
    turn: int,
    cancelled: threading.Event | None,
) -> Talk[Reply]:
    need = need_of(state, action, toolbox.charge)
    if isinstance(need, Problem):
        way = RolloutSettings(temperature=asked.temperature, answer_temperature=asked.temperature)
        inner = conversation(backend, need, toolbox, settings=way, seed=child_seed(asked.seed, "nested", turn))
        nested = yield from _cancellable(inner, cancelled)
        return reply_of(nested, toolbox.charge)
    if isinstance(need, ToolCall):
        need = yield toolbox.submit(need)
    return Reply(need)


def _cancellable(talk: Talk[R], cancelled: threading.Event | None) -> Talk[R]:
    """The conversation, whose turns end when `cancelled` is set."""
    said = None
    while True:
        try:
            wanted = talk.send(said)
        except StopIteration as end:
            result: R = end.value
            return result
        said = yield (replace(wanted, cancelled=cancelled) if isinstance(wanted, GenerateRequest) else wanted)


def _answer(state: State, transitions: Sequence[Transition], asked_back: Action | None, *, cost: Cost) -> Answer:
    last = asked_back or transitions[-1].action
    stop = StopReason.ANSWERED if asked_back is not None else stop_reason(state, transitions)
    said = stop in (StopReason.ANSWERED, StopReason.TRUNCATED) and last.decision == ANSWER
    return Answer(
        text=last.message.content.strip() if said else None,
        call=None if asked_back is None else asked_back.call,
        stop=stop,
        reason="" if said or asked_back is not None else _why(stop, last),
        cost=cost,
        calls=state.calls,
        decisions=tuple(t.action.decision for t in transitions) + ((last.decision,) if asked_back else ()),
    )


def _why(stop: StopReason, last: Action) -> str:
    if stop is StopReason.GAVE_UP and last.call is not None:
        return f"gave up: {last.call.arguments.get('reason', '')}"
    if stop is StopReason.REFUSED:
        return last.message.content
    return f"no answer: {stop.value.replace('_', ' ')}"
