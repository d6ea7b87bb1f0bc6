"""The prompts of the untrained loop, and what a plain text means as an action.

Takes tasks, notes and texts; gives prompts with worked examples, steps of a plan and `Said`. The words are SEARCH,
PYTHON, ANSWER and GIVE UP, one a line. The examples are turns of the conversation: told in one text with the question,
a small instructed model copied them instead of following them. Knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from components.schema.message import ToolCall
from components.tools.composite import GIVE_UP

Shots = tuple[tuple[str, str], ...]
"""Worked examples: what is asked, and what a good model says."""

PLAN = "Break the question into short steps.\nQuestion: "
PLAN_SHOTS: Shots = (
    (f"{PLAN}What is the opposite of big?", "1. Say the opposite of big."),
    (f"{PLAN}What is the capital of Peru?", "1. Find the capital of Peru."),
    (
        f"{PLAN}How many people live in the country whose capital is Rome?",
        "1. Find the country whose capital is Rome.\n2. Find the population of that country.",
    ),
    (f"{PLAN}What is 17 * 23?", "1. Compute 17 * 23."),
    (
        f"{PLAN}By what factor is Spain larger than Cuba?",
        "1. Find the area of Spain.\n2. Find the area of Cuba.\n3. Compute area of Spain / area of Cuba.",
    ),
)
FIRST_SHOTS: Shots = (
    ("Task: Say the opposite of big.", "ANSWER small"),
    ("Task: Find the capital of Peru.", "SEARCH Peru capital"),
    ("Task: Compute 17 * 23.", "PYTHON 17 * 23"),
    (
        "Known: Find the area of Spain. 505370\nKnown: Find the area of Cuba. 110860\n"
        "Task: Compute area of Spain / area of Cuba.",
        "PYTHON 505370 / 110860",
    ),
    (
        "Known: Find the country whose capital is Rome. Italy\nTask: Find the population of that country.",
        "SEARCH Italy population",
    ),
    ("Task: Find the area of Kenya.", "SEARCH Kenya area"),
)
"""For a step for which nothing was called yet. Their order decides much: of five orders tried on SmolLM2-135M, this one
gave the right word most often (7 of 11 tasks; the worst 3)."""
NEXT_SHOTS: Shots = (
    ("Task: Find the king of Mars.\nFound: No results.", "GIVE UP nothing was found"),
    ("Task: Compute 17 * 23.\nFound: 391", "ANSWER 391"),
    (
        "Task: Find the capital of Peru.\nFound: [Peru: Government] Capital name: Lima; coordinates: 12 03 S",
        "ANSWER Lima",
    ),
)
"""For a step for which a tool has said something."""
COMBINE_SHOTS: Shots = (
    ("Question: What is the opposite of big?", "The opposite of big is small."),
    ("Known: Compute 17 * 23. 391\nQuestion: What is 17 * 23?", "17 * 23 = 391"),
    ("Known: Find the capital of Peru. Lima\nQuestion: What is the capital of Peru?", "The capital of Peru is Lima."),
)
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
    return f"{PLAN}{question}"


def act_prompt(task: str, *, known: Sequence[str], found: Sequence[str]) -> str:
    """Asks for one line. `known`: results of earlier tasks; `found`: what was found for this one."""
    return "\n".join([*(f"Known: {note}" for note in known), f"Task: {task}", *(f"Found: {text}" for text in found)])


def combine_prompt(question: str, *, known: Sequence[str]) -> str:
    """Asks for the final answer."""
    return "\n".join([*(f"Known: {note}" for note in known), f"Question: {question}"])


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
