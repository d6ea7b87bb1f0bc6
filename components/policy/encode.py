"""Tokens for turns that people wrote. Takes trajectories without tokens; gives the same trajectories with them.

A person's text is encoded once, here; from then on its tokens are the record, as for any policy.
"""

from __future__ import annotations

from dataclasses import replace

from components.policy.chat import Chat
from components.policy.constrained import ArgumentGrammars, written_mask
from components.schema.message import Message
from components.schema.tool import ToolSpec
from components.schema.trajectory import ANSWER, Action, Trajectory
from components.tools.grammar import ARGUMENTS_OPENING, CALL_CLOSING, render_arguments


def opening_length(chat: Chat, action: Action) -> int:
    """Tokens of a call's opening with the tool's name; 0 for an answer."""
    return 0 if action.decision == ANSWER else len(chat.call_opening) + len(chat.encode(action.decision))


def encode_answer(chat: Chat, text: str) -> Action:
    """An answer turn with its tokens; the end marker belongs to it."""
    ids = (*chat.encode(text), chat.end_id)
    return Action(Message("assistant", text, ids), ANSWER, (True,) * len(ids), None)


def encode_call(chat: Chat, grammars: ArgumentGrammars, action: Action, spec: ToolSpec) -> Action:
    """A call turn with its tokens; forced tokens are marked as not written."""
    assert action.call is not None, "only a parsed call can be encoded"
    start = chat.call_opening + chat.encode(spec.name)
    rest = chat.encode(f"{ARGUMENTS_OPENING}{render_arguments(action.call.arguments)}{CALL_CLOSING}")
    written = (False,) * len(start) + written_mask(grammars.matcher(spec), rest)
    return replace(action, message=replace(action.message, token_ids=start + rest), written=written)


def encode_trajectory(
    chat: Chat, grammars: ArgumentGrammars, trajectory: Trajectory, specs: tuple[ToolSpec, ...]
) -> Trajectory:
    """The trajectory with tokens on every turn that has none."""
    tools = {spec.name: spec for spec in specs}
    transitions = []
    for transition in trajectory.transitions:
        action = transition.action
        if action.message.token_ids is None:
            if action.decision == ANSWER:
                action = encode_answer(chat, action.message.content)
            else:
                action = encode_call(chat, grammars, action, tools[action.decision])
        transitions.append(replace(transition, action=action))
    return replace(trajectory, transitions=tuple(transitions))
