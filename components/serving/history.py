"""A conversation as clients send it, as the turns that the policy reads. Takes messages; gives `Message`s with tokens.

The policy's grammar has one opening user turn, one call a turn and no turn of the operator: so what the operator says
goes before the first question, and several calls of one turn are told one after another, each with its result. What the
assistant said before is encoded anew, for clients give back texts. Does not check that the tools named exist.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.policy.chat import Chat
from components.schema.arguments import why_unwritable
from components.schema.message import Message, ToolCall
from components.serving.errors import bad
from components.serving.wire import (
    AssistantMessage,
    CallMade,
    ChatMessage,
    InstructionMessage,
    ToolMessage,
    UserMessage,
    plain,
)
from components.tools.grammar import ARGUMENTS_OPENING, CALL_CLOSING, render_arguments, render_call


def turns_of(messages: Sequence[ChatMessage], chat: Chat) -> tuple[Message, ...]:
    """The turns, the user's first; the policy speaks next.

    Raises:
        Refused: the messages are no conversation; the message names the one at fault.
    """
    orders = [plain(message.content) for message in messages if isinstance(message, InstructionMessage)]
    said = [(place, one) for place, one in enumerate(messages) if not isinstance(one, InstructionMessage)]
    if not said or not isinstance(said[0][1], UserMessage):
        raise bad("the first message (after those of the system) must be of the user", param="messages")
    if isinstance(said[-1][1], AssistantMessage):
        raise bad("the last message must be of the user or of a tool", param=f"messages[{said[-1][0]}]")
    turns = list(_turns(said, chat))
    opening = "\n".join([*orders, turns[0].content])
    for text in (opening, *(turn.content for turn in turns[1:])):
        if why_unwritable(text) is not None:
            raise bad(f"a message {why_unwritable(text)}", param="messages")
    if not opening.strip():
        raise bad("the question is empty", param="messages")
    return (Message("user", opening), *turns[1:])


def _turns(said: Sequence[tuple[int, ChatMessage]], chat: Chat) -> Iterator[Message]:
    due: dict[str, CallMade] = {}
    before: Message | None = None
    for place, message in said:
        where = f"messages[{place}]"
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in due:
                raise bad(f"no call {message.tool_call_id!r:.80} waits for a result", param=f"{where}.tool_call_id")
            yield _call_turn(due.pop(message.tool_call_id), chat, where)
            before = Message("tool", plain(message.content))
            yield before
            continue
        if due:
            raise bad(f"the call {next(iter(due))!r:.80} has no result", param=where)
        if isinstance(message, AssistantMessage) and message.tool_calls:
            due = {call.id: call for call in message.tool_calls}
            continue
        if before is not None and before.role != "assistant" and isinstance(message, UserMessage):
            yield _said("", chat)  # the policy let the user speak on
        before = (
            Message("user", plain(message.content))
            if isinstance(message, UserMessage)
            else _said(plain(message.content), chat)
        )
        yield before
    if due:
        raise bad(f"the call {next(iter(due))!r:.80} has no result", param="messages")


def _said(text: str, chat: Chat) -> Message:
    return Message("assistant", text, (*_encoded(text, chat), chat.end_id))


def _call_turn(made: CallMade, chat: Chat, where: str) -> Message:
    call = ToolCall(made.function.name, _arguments(made, where))
    rest = f"{ARGUMENTS_OPENING}{render_arguments(call.arguments)}{CALL_CLOSING}"
    ids = (*chat.call_opening, *chat.encode(call.name), *_encoded(rest, chat))
    return Message("assistant", render_call(call), ids)


def _arguments(made: CallMade, where: str) -> Mapping[str, Any]:
    try:
        arguments = json.loads(made.function.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict) or why_unwritable(arguments) is not None:
        raise bad(f"the arguments of call {made.id!r:.80} are not a JSON object", param=where)
    return arguments


def _encoded(text: str, chat: Chat) -> tuple[int, ...]:
    if why_unwritable(text) is not None:
        raise bad(f"a message {why_unwritable(text)}", param="messages")
    return chat.encode(text)
