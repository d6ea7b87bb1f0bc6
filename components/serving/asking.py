"""From a request to what is to be played: the conversation so far, the tools on offer and the limits.

Takes a validated request, the toolbox and the limits; gives `Asked`. Whatever cannot be answered is refused here,
before a model is troubled. Runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped]

from components.policy.backend import Backend
from components.policy.constrained import ArgumentGrammars
from components.policy.turn import CALL_ROOM
from components.schema.arguments import why_unwritable
from components.schema.identity import stable_hash
from components.schema.message import Message
from components.schema.problem import Budget, CheckerSpec, Problem, Reference
from components.schema.tool import ToolSpec
from components.schema.trajectory import State
from components.serving.errors import bad
from components.serving.history import turns_of
from components.serving.settings import Limits
from components.serving.wire import ChatRequest, ClientTool, NamedChoice
from components.tools.composite import COMPOSITE_NAMES, offered
from components.tools.function_tool import BadTool
from components.tools.names import check_names
from components.tools.settings import CompositeSettings
from components.tools.spec import by_name
from components.tools.toolbox import Toolbox

NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that can be played."""

    state: State
    """Where the policy is to go on; what it is to solve says which of the server's tools it may call."""
    specs: tuple[ToolSpec, ...]
    """Every tool shown, the server's first."""
    client: frozenset[str]
    """Names of those that the client runs."""
    choice: str | None
    """`none`, `required`, or the name of the tool to be called first; None leaves it to the policy."""
    temperature: float
    seed: int
    price: float | None

    @property
    def question(self) -> str:
        """What was asked last."""
        return next(message.content for message in reversed(self.state.messages) if message.role == "user")


def asked_of(
    request: ChatRequest,
    backend: Backend,
    toolbox: Toolbox,
    *,
    composite: CompositeSettings,
    limits: Limits,
    seed: int,
) -> Asked:
    """What the request asks for; `seed` where it names none.

    Raises:
        Refused: it cannot be answered; the message is for the client.
    """
    if len(request.messages) > limits.messages:
        raise bad(f"at most {limits.messages} messages are read, there are {len(request.messages)}", param="messages")
    own = _own_tools(request, toolbox)
    client = _client_tools(request, limits, backend.grammars)
    _check_together([spec.name for spec in own], [spec.name for spec in client])
    messages = turns_of(request.messages, backend.chat)
    nested = tuple(spec.name for spec in own if spec.name in COMPOSITE_NAMES)
    problem = _problem(messages, [spec.name for spec in own], request, limits)
    problem = offered(problem, composite.model_copy(update={"tools": nested}))
    specs = (*toolbox.specs(problem.tool_names), *client)
    state = State(problem=problem, messages=messages)
    _check_room(backend, state, specs)
    return Asked(
        state=state,
        specs=specs,
        client=frozenset(spec.name for spec in client),
        choice=_choice(request, [spec.name for spec in specs]),
        temperature=request.temperature or 0.0,
        seed=seed if request.seed is None else request.seed & (2**63 - 1),
        price=request.price,
    )


def _own_tools(request: ChatRequest, toolbox: Toolbox) -> tuple[ToolSpec, ...]:
    known = by_name(toolbox.specs())
    if request.server_tools is None:
        return tuple(known.values())
    missing = [name for name in request.server_tools if name not in known]
    if missing:
        raise bad(f"the server has no tool {missing[0]!r} (it has {', '.join(known) or 'none'})", param="server_tools")
    return tuple(known[name] for name in dict.fromkeys(request.server_tools))


def _client_tools(request: ChatRequest, limits: Limits, grammars: ArgumentGrammars) -> tuple[ToolSpec, ...]:
    tools = request.tools or ()
    if len(tools) > limits.tools:
        raise bad(f"at most {limits.tools} tools may be brought, there are {len(tools)}", param="tools")
    return tuple(_spec(tool, f"tools[{place}]", limits, grammars) for place, tool in enumerate(tools))


def _spec(tool: ClientTool, where: str, limits: Limits, grammars: ArgumentGrammars) -> ToolSpec:
    schema: dict[str, Any] = NO_ARGUMENTS if tool.function.parameters is None else tool.function.parameters
    where = f"{where}.function.parameters"
    if why_unwritable(schema) is not None:
        raise bad(f"the schema {why_unwritable(schema)}", param=where)
    if len(json.dumps(schema)) > limits.tool_bytes:
        raise bad(f"the schema has more than {limits.tool_bytes} bytes", param=where)
    if schema.get("type") != "object" or not isinstance(schema.get("properties", {}), dict):
        raise bad("the schema must be of an object with `properties`", param=where)
    spec = ToolSpec(tool.function.name, tool.function.description, schema)
    try:
        Draft202012Validator.check_schema(schema)
        grammars.matcher(spec)
    except SchemaError as error:
        raise bad(f"not a JSON schema: {str(error.message)[:200]}", param=where) from None
    except (ValueError, RecursionError) as error:
        raise bad(f"{str(error)[:300]}", param=where) from None
    return spec


def _check_together(own: Sequence[str], client: Sequence[str]) -> None:
    for name in client:
        if name in own:
            raise bad(f"{name!r} is a tool of the server: leave it out of server_tools, or rename yours", param="tools")
        if name in COMPOSITE_NAMES:
            raise bad(f"{name!r} is reserved", param="tools")
    if len(set(client)) != len(client):
        raise bad("two tools have the same name", param="tools")
    try:
        nested = [name for name in own if name in COMPOSITE_NAMES]
        check_names([name for name in (*own, *client) if name not in nested], composite=nested)
    except BadTool as error:
        raise bad(str(error), param="tools") from None


def _choice(request: ChatRequest, names: Sequence[str]) -> str | None:
    choice = request.tool_choice
    if isinstance(choice, NamedChoice):
        if choice.function.name not in names:
            raise bad(f"there is no tool {choice.function.name!r}", param="tool_choice")
        return choice.function.name
    if choice == "required" and not names:
        raise bad("a call is required, but there are no tools", param="tool_choice")
    return None if choice in (None, "auto") else choice


def _problem(messages: Sequence[Message], own: Sequence[str], request: ChatRequest, limits: Limits) -> Problem:
    """What is to be solved; nobody knows the answer beforehand."""
    wanted = min((n for n in (request.max_completion_tokens, request.max_tokens) if n is not None), default=None)
    return Problem(
        problem_id=stable_hash([message.content for message in messages]),
        prompt=messages[0].content,
        tool_names=tuple(own),
        reference=Reference(text="", answer=""),
        checker=CheckerSpec(kind="phrase"),
        budget=Budget(
            max_calls=limits.calls,
            max_answer_tokens=min(limits.answer_tokens, wanted or limits.answer_tokens),
            max_argument_tokens=limits.argument_tokens,
            max_context_tokens=limits.context_tokens,
        ),
        family="chat",
        slices=(),
        group="",
        split="test",
    )


def _check_room(backend: Backend, state: State, specs: Sequence[ToolSpec]) -> None:
    budget = state.problem.budget
    room = max(budget.max_answer_tokens, budget.max_argument_tokens + CALL_ROOM)
    used = len(backend.chat.context_ids(state, specs))
    limit = min(budget.max_context_tokens, backend.capacity)
    if used + room > limit:
        raise bad(
            f"the conversation has {used} tokens and an answer may take {room}, together more than the {limit} that "
            "are read: shorten it, or lower max_completion_tokens",
            param="messages",
            code="context_length_exceeded",
        )
