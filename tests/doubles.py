"""Doubles that tests use in place of models and outside services: all in memory, all deterministic.

Takes scripts; gives toolboxes, tools, clocks, problems and passages. Nothing here patches anything.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TextIO

from components.environment.step import finish, start, step
from components.schema.cost import Cost
from components.schema.identity import child_seed, stable_hash
from components.schema.message import Message, ToolCall, ToolResult
from components.schema.problem import Budget, CheckerSpec, Nesting, Problem, Reference, Split
from components.schema.trajectory import ANSWER, Action, State, StopReason, Trajectory
from components.tools.composite import COMPOSITE_SPECS
from components.tools.grammar import parse_turn, render_call
from components.tools.prices import PriceSheet
from components.tools.search_index import Passage
from components.tools.spec import KNOWN_SPECS, ToolCaller, ToolOutput, ToolSpec, text_tool


def cut_words(text: str, budget: int) -> str:
    """The first `budget` words, in place of a tokenizer's cut."""
    words = text.split(" ")
    return text if len(words) <= budget else " ".join(words[:budget])


class FakeClock:
    """A clock that advances by `tick` seconds each time it is read."""

    def __init__(self, *, tick: float = 1.0) -> None:
        self.now, self._tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self._tick
        return self.now


class FakeTool:
    """A tool that answers with a function of its arguments and counts its calls."""

    def __init__(
        self,
        answer: Callable[[Mapping[str, Any]], ToolOutput | str],
        *,
        spec: ToolSpec | None = None,
        version: str = "1",
    ) -> None:
        self._answer, self.version = answer, version
        self.spec = spec or text_tool("search", "query", "A fake.")
        self.seen: list[Mapping[str, Any]] = []

    def call(self, arguments: Mapping[str, Any]) -> ToolOutput:
        self.seen.append(arguments)
        output = self._answer(arguments)
        return ToolOutput(output, is_error=False) if isinstance(output, str) else output


class FakeToolbox:
    """Answers calls from a table (`name` and first argument to text), at the default prices, without threads."""

    def __init__(self, answers: Mapping[tuple[str, str], str] | None = None, *, default: str = "No results.") -> None:
        self._answers, self._default = dict(answers or {}), default
        self._prices = PriceSheet()
        self.calls: list[ToolCall] = []

    def specs(self, names: Sequence[str] | None = None) -> tuple[ToolSpec, ...]:
        known = {spec.name: spec for spec in (*KNOWN_SPECS, *([] if names is None else COMPOSITE_SPECS))}
        return tuple(known[name] for name in (known if names is None else names))

    def call(self, call: ToolCall) -> ToolResult:
        self.calls.append(call)
        argument = str(next(iter(call.arguments.values()), ""))
        content = self._answers.get((call.name, argument), self._default)
        return ToolResult(content=content, is_error=False, cost=self._prices.charge(call.name))

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResult]:
        return [self.call(call) for call in calls]

    def submit(self, call: ToolCall) -> Future[ToolResult]:
        future: Future[ToolResult] = Future()
        future.set_result(self.call(call))
        return future

    def charge(self, name: str) -> Cost:
        return self._prices.charge(name)

    def close(self) -> None:
        """Nothing to close."""


NESTING = Nesting()
ALL_SPECS = (*KNOWN_SPECS, *COMPOSITE_SPECS)


def text_action(text: str, *, specs: Sequence[ToolSpec] = ALL_SPECS, stop: StopReason | None = None) -> Action:
    """The action of a policy that wrote `text`; its token ids are the text's bytes."""
    ids = tuple(text.encode("utf-8", "replace"))
    turn = parse_turn(text, specs)
    return Action(
        message=Message(role="assistant", content=text, token_ids=ids),
        decision=turn.call.name if turn.call else ANSWER,
        written=(True,) * len(ids),
        logprobs=(-0.5,) * len(ids),
        call=turn.call if stop is None else None,
        stop=stop or (StopReason.MALFORMED if turn.error else None),
    )


def call_action(name: str, **arguments: Any) -> Action:
    """The action that calls a tool."""
    return text_action(render_call(ToolCall(name, arguments)))


class ScriptedPolicy:
    """Writes the given texts, one a turn, whatever the state; the last one again when the script is over."""

    policy_id = "scripted"

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(texts)

    def act(self, state: State) -> Action:
        """The action for the turn that `state` is at."""
        turn = sum(message.role == "assistant" for message in state.messages)
        return text_action(self._texts[min(turn, len(self._texts) - 1)])


class RandomPolicy:
    """Writes one of the given texts at every state, drawn by the state and a seed: the same state, the same text."""

    policy_id = "random"

    def __init__(self, texts: Sequence[str], *, seed: int) -> None:
        self._texts, self._seed = tuple(texts), seed

    def act(self, state: State) -> Action:
        """The action at `state`; now and then one that was cut off, refused or cancelled."""
        said = [message.content for message in state.messages]
        drawn = child_seed(self._seed, state.problem.problem_id, *said)
        stops = [StopReason.TRUNCATED, StopReason.REFUSED, StopReason.CANCELLED]
        stop = stops[drawn // 40 % 3] if drawn // 7 % 12 == 0 else None
        return text_action(self._texts[drawn % len(self._texts)], stop=stop)


def play(problem: Problem, policy: ScriptedPolicy | RandomPolicy, toolbox: ToolCaller, *, seed: int = 0) -> Trajectory:
    """A whole trajectory of a scripted policy; success is whether the reference's answer occurs."""

    def delegate(problems: Sequence[Problem]) -> list[Trajectory]:
        return [play(inner, policy, toolbox, seed=seed) for inner in problems]

    state, transitions = start(problem), []
    while not state.done:
        state, transition = step(state, policy.act(state), toolbox, delegate=delegate)
        transitions.append(transition)
    answer = problem.reference.answer
    success = answer in transitions[-1].action.message.content if answer else None
    return finish(state, transitions, policy_id=policy.policy_id, seed=seed, success=success)


def make_problem(
    prompt: str = "What is the capital of Chad?",
    answer: str = "N'Djamena",
    *,
    family: str = "fact",
    slices: tuple[str, ...] | None = None,
    group: str = "chad",
    split: Split = "train",
    max_calls: int = 3,
    tool_names: tuple[str, ...] = ("search", "python"),
    nesting: Nesting = NESTING,
    checker: CheckerSpec | None = None,
) -> Problem:
    """A small problem; its identity is its content, as everywhere."""
    judged_by = checker or CheckerSpec("phrase")
    return Problem(
        problem_id=stable_hash([prompt, answer, judged_by.kind, dict(judged_by.settings)]),
        prompt=prompt,
        tool_names=tool_names,
        reference=Reference(text=f"It is {answer}.", answer=answer),
        checker=judged_by,
        budget=Budget(max_calls=max_calls, nesting=nesting),
        family=family,
        slices=slices or (family,),
        group=group,
        split=split,
        facts={"answer": answer},
    )


PASSAGES = (
    Passage(
        "chad-government-1",
        "Chad: Government",
        "World Factbook, Chad",
        "Country name: conventional short form: Chad; Government type: presidential republic; Capital name: N'Djamena; "
        "geographic coordinates: 12 06 N, 15 02 E; Independence: 11 August 1960 (from France)",
        False,
    ),
    Passage(
        "chad-people-1",
        "Chad: People and Society",
        "World Factbook, Chad",
        "Population: 18,523,165; Nationality: Chadian; Languages: French (official), Arabic (official), Sara",
        False,
    ),
    Passage(
        "mali-government-1",
        "Mali: Government",
        "World Factbook, Mali",
        "Country name: conventional short form: Mali; Government type: military government; Capital name: Bamako; "
        "Independence: 22 September 1960 (from France)",
        False,
    ),
    Passage(
        "decoy-chad-1",
        "Chad capital quiz",
        "A joke page",
        "The capital of Chad is, of course, Chadville; every Chad lives there.",
        True,
    ),
)
"""Two countries and a joke page."""


class _FullDisk:
    """A text stream on a disk that is full after `room` characters."""

    def __init__(self, descriptor: int, room: int) -> None:
        self._stream, self._room = os.fdopen(descriptor, "w", encoding="utf-8"), room

    def __enter__(self) -> _FullDisk:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stream.close()

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self._room -= len(line)
            if self._room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._stream.write(line)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()


def full_disk(room: int = 0) -> Callable[[int], TextIO]:
    """An opener for `components.records.atomic` whose disk has `room` characters left."""
    return lambda descriptor: _FullDisk(descriptor, room)  # type: ignore[return-value]


def write_safetensors(path: Path, *, floats: int = 8) -> None:
    """A tiny valid safetensors file with one tensor, written by hand."""
    header = f'{{"weight":{{"dtype":"F32","shape":[{floats}],"data_offsets":[0,{4 * floats}]}}}}'.encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * floats))
