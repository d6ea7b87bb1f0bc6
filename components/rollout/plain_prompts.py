"""The prompts of the untrained loop, and what a plain text means as an action.

Takes tasks, notes and texts; gives prompts, steps of a plan and `Said`. The words are SEARCH, PYTHON, ANSWER and GIVE
UP, one a line, with worked examples: what a small instructed model follows best without training. Knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from components.schema.message import ToolCall
from components.tools.composite import GIVE_UP

PLAN = """Break the question into short steps, one a line. Use few steps.

Question: How many people live in the country whose capital is Rome?
1. Find the country whose capital is Rome.
2. Find the population of that country.

Question: What is 12 percent of the area of France?
1. Find the area of France.
2. Compute 12 percent of that area.

Question: Who wrote Hamlet?
1. Say who wrote Hamlet.

Question: {question}"""
ACT = """Do the task with one line:
SEARCH words: look words up in a book about countries.
PYTHON expression: compute.
ANSWER text: the task is done.
GIVE UP reason: the task cannot be done.

Task: Find the population of Italy.
SEARCH Italy population

Task: Find the capital of Peru.
Found: [Peru: Government] Capital name: Lima; geographic coordinates: 12 03 S
ANSWER Lima

Task: Compute 12 percent of the area.
Known: Find the area of France. 643,801 sq km
PYTHON 643801 * 0.12

{situation}"""
COMBINE = """Answer the question in one short sentence.
{known}
Question: {question}"""
ANSWER_WORD = "ANSWER"
_TOOLS = {"SEARCH": ("search", "query"), "PYTHON": ("python", "code"), "GIVE UP": (GIVE_UP, "reason")}
_STEP = re.compile(r"^\s*(?:\d+[.)]|[-*])\s*(.*)$")
_LINE = re.compile(rf"^\W*(SEARCH|PYTHON|{ANSWER_WORD}|GIVE UP)\b[:\s]*(.*)$")


@dataclass(frozen=True, slots=True)
class Said:
    """What a line of the model means."""

    answer: str = ""
    call: ToolCall | None = None


def plan_prompt(question: str) -> str:
    """Asks for steps; the reply goes on after `1.`."""
    return PLAN.format(question=question)


def act_prompt(task: str, *, known: Sequence[str], found: Sequence[str]) -> str:
    """Asks for one line. `known`: results of earlier tasks; `found`: what was found for this one."""
    lines = [f"Task: {task}", *(f"Known: {note}" for note in known), *(f"Found: {text}" for text in found)]
    return ACT.format(situation="\n".join(lines))


def combine_prompt(question: str, *, known: Sequence[str]) -> str:
    """Asks for the final answer."""
    return COMBINE.format(question=question, known="".join(f"\nFound: {note}" for note in known))


def read_steps(text: str, *, most: int) -> list[str]:
    """The steps of a plan whose first number was already written; at most `most`, each once."""
    first, *others = text.strip().splitlines() or [""]
    steps = [first, *(match[1] for line in others if (match := _STEP.match(line)))]
    return [step for step in dict.fromkeys(step.strip() for step in steps) if step][:most]


def read_line(text: str, *, tool_names: Sequence[str]) -> Said:
    """The first line as a call to one of the tools; anything else is an answer."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    match = _LINE.match(first)
    if match is None:
        return Said(answer=text)
    tool, argument = _TOOLS.get(match[1], ("", "")), match[2].strip()
    if tool[0] not in tool_names or not argument:
        return Said(answer=argument)
    return Said(call=ToolCall(tool[0], {tool[1]: argument}))
