"""An evaluation that never happened: problems, trajectories of every policy and step metrics, realistic and seeded.

Double for tests of evaluation and its report; plays no model and no tool.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from components.evaluation.policies import Play, plan
from components.evaluation.rows import EvalRow, rows_of
from components.evaluation.settings import EvaluateSettings
from components.evaluation.summary import Report, summarise
from components.schema.cost import Cost
from components.schema.message import Message, ToolCall, ToolResult
from components.schema.problem import Budget, CheckerSpec, Problem, Reference
from components.schema.trajectory import Action, Outcome, StopReason, Trajectory, Transition

PLAN = plan("final")
FAMILIES = ("fact", "number", "two_hop", "compute", "fact_compute", "chat", "decoy", "puzzle")
HOSTILE = '<script>window.broken = true</script> & "quotes"'
COST_WEIGHT = 0.15
# How often each way of acting succeeds, by family: directly, after a search, after Python.
CHANCES: Mapping[str, tuple[float, float, float]] = {
    "fact": (0.35, 0.95, 0.1),
    "number": (0.03, 0.9, 0.05),
    "two_hop": (0.02, 0.7, 0.02),
    "compute": (0.4, 0.1, 0.95),
    "fact_compute": (0.0, 0.45, 0.1),
    "chat": (0.98, 0.9, 0.85),
    "decoy": (0.2, 0.5, 0.1),
    "puzzle": (0.05, 0.02, 0.6),
}
SKILL = {"base": 0.0, "clone": 0.55, "reinforced": 0.85, "final": 0.9}


def price(cost: Cost) -> float:
    """Money alone, as if one unit cost one."""
    return cost.money


def problems(count: int = 160) -> tuple[Problem, ...]:
    return tuple(_problem(i) for i in range(count))


def trajectories(play: Play, solved: Sequence[Problem]) -> tuple[Trajectory, ...]:
    return tuple(_trajectory(play, problem) for problem in solved)


def played_rows(solved: Sequence[Problem]) -> dict[str, Sequence[EvalRow]]:
    return {play.policy: rows_of(play.policy, solved, trajectories(play, solved), price) for play in PLAN}


def report(count: int = 160, *, resamples: int = 1000) -> Report:
    rows = played_rows(problems(count))
    return summarise(rows, EvaluateSettings(resamples=resamples), cost_weight=COST_WEIGHT, seed=0)


def reward_steps(count: int = 120) -> list[dict[str, float]]:
    generator = random.Random(0)
    return [
        {
            "step": step,
            "reward/likelihood": 0.4 + 0.4 * step / count + generator.gauss(0, 0.05),
            "reward/correct": 0.55 + 0.3 * step / count + generator.gauss(0, 0.06),
            "reward/money": -0.9 + 0.5 * step / count + generator.gauss(0, 0.05),
            "rollout/call_rate": 0.95 - 0.3 * step / count + generator.gauss(0, 0.03),
        }
        for step in range(count)
    ]


def _problem(i: int) -> Problem:
    family = FAMILIES[i % len(FAMILIES)]
    prompt = f"What is figure {i} of the {family.replace('_', ' ')} problems in the Republic of {chr(65 + i % 26)}?"
    slices = (family, "fact_known" if i % 3 == 0 else "fact_unknown") if family == "fact" else (family,)
    return Problem(
        problem_id=f"p{i:04d}",
        prompt=f"{prompt} {HOSTILE}" if i == 0 else prompt,
        tool_names=("search", "python"),
        reference=Reference(f"The figure is {i * 17}.", str(i * 17)),
        checker=CheckerSpec("number", {"value": i * 17}),
        budget=Budget(),
        family=family,
        slices=slices,
        group=f"group{i // 2}",
        split="test",
    )


def _trajectory(play: Play, problem: Problem) -> Trajectory:
    luck = random.Random(problem.problem_id)  # the same problem is as hard for every policy
    rolls = [luck.random() for _ in range(3)]
    chances = CHANCES[problem.family]
    decisions = ("answer", "search", "python")
    best = max(range(3), key=lambda k: (rolls[k] < chances[k]) - 0.1 * k)
    own = random.Random(f"{play.model}{problem.problem_id}")
    skill = SKILL[play.model]
    wanted = best if own.random() < skill else 1
    k = decisions.index(play.force[0]) if play.force else wanted
    success = rolls[k] < chances[k] * (0.6 + 0.4 * skill)
    turns = [*_calls(decisions[k], problem, fails=own.random() < 0.08), _answer(problem, success)]
    cost = sum((turn.cost for turn in turns), Cost())
    verdict = None if problem.problem_id == "p0003" else success
    answer = f"The figure is {int(problem.reference.answer) + (not success)}."
    outcome = Outcome(StopReason.ANSWERED, answer, verdict, cost)
    return Trajectory(
        f"t{problem.problem_id}", problem.problem_id, play.model, 0, tuple(turns), outcome, play.force or ()
    )


def _calls(decision: str, problem: Problem, *, fails: bool) -> list[Transition]:
    if decision == "answer":
        return []
    call = ToolCall(decision, {"query": f"figure {problem.problem_id}"} if decision == "search" else {"code": "17 * 3"})
    cost = Cost(calls=1, money=1.0 if decision == "search" else 0.3)
    text = (
        "Time ran out."
        if fails
        else f"[{problem.family}] The figure of {problem.problem_id} is {problem.reference.answer}."
    )
    rest = {"answer": 0.2, "search": 0.1, "python": 0.1} | {decision: 0.7}
    action = Action(Message("assistant", "<tool_call>…"), decision, (), None, call, decision_probs=rest)
    return [Transition(action, (ToolResult(text, fails, cost),), cost)]


def _answer(problem: Problem, success: bool) -> Transition:
    text = f"The figure is {int(problem.reference.answer) + (not success)}."
    probabilities = {"answer": 0.9, "search": 0.07, "python": 0.03}
    return Transition(Action(Message("assistant", text), "answer", (), None, decision_probs=probabilities), (), Cost())
