"""Cases made of what the pipeline wrote down: searched trees, judged rollouts, feedback on served answers.

Takes records and problems; gives cases. Only train problems may be shown (an annotation of a held-out one would be
dropped by curation): the caller passes no others. Asks no model and reads no files.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from components.annotation.case import Alternative, Case, Complaint, Source, Turn
from components.schema.cost import Cost
from components.schema.problem import Problem
from components.schema.tool import ToolSpec
from components.schema.trajectory import ANSWER, Trajectory, Transition
from components.search.schema import NodeRow

Units = Callable[[Cost], float]


def all_cases(
    problems: Mapping[str, Problem],
    tools: Sequence[ToolSpec],
    *,
    rows: Iterable[NodeRow],
    trajectories: Iterable[Trajectory],
    feedback: Sequence[Complaint],
    units: Units,
) -> tuple[Case, ...]:
    """One case a problem, of the richest evidence there is (a tree before rollouts), with what users said of it."""
    cases = {case.prompt: case for case in cases_from_rollouts(trajectories, problems, tools, units)}
    cases.update((case.prompt, case) for case in cases_from_trees(rows, problems, tools))
    for prompt, said in _by_question(feedback).items():
        case = cases.get(prompt) or _case_of_feedback(prompt, problems, tools)
        cases[prompt] = replace(case, feedback=tuple(said))
    return tuple(cases.values())


def cases_from_trees(
    rows: Iterable[NodeRow], problems: Mapping[str, Problem], tools: Sequence[ToolSpec]
) -> Iterator[Case]:
    """One case a tree whose root has something to choose from; its rows stand together."""
    for _, members in groupby(rows, key=lambda row: row.tree_id):
        tree = tuple(members)
        problem = problems.get(tree[0].problem_id)
        children: dict[str, list[NodeRow]] = defaultdict(list)
        for row in tree[1:]:
            children[row.parent_id or ""].append(row)
        found = [_of_node(row, children) for row in children[tree[0].node_id]]
        if problem is not None and found:
            yield _case(problem, "search", tools, found)


def cases_from_rollouts(
    trajectories: Iterable[Trajectory], problems: Mapping[str, Problem], tools: Sequence[ToolSpec], units: Units
) -> Iterator[Case]:
    """One case a problem at whose root every decision was tried."""
    plays: dict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in trajectories:
        plays[trajectory.problem_id].append(trajectory)
    for problem_id, mine in plays.items():
        problem = problems.get(problem_id)
        if problem is not None:
            yield _case(problem, "rollouts", tools, [_of_play(play, units) for play in mine if play.transitions])


def _case(
    problem: Problem, source: Source, tools: Sequence[ToolSpec], found: Sequence[Alternative], family: str = ""
) -> Case:
    return Case(
        prompt=problem.prompt,
        family=family or problem.family,
        source=source,
        tools=tuple(spec for spec in tools if spec.name in problem.tool_names),
        max_calls=problem.budget.max_calls,
        known_answer=problem.reference.text,
        alternatives=_in_order(found),
    )


def _in_order(found: Sequence[Alternative]) -> tuple[Alternative, ...]:
    """What the policy does alone (the best action of the decision that it likes best; what went best where that is not
    known), then the rest by Q, untried ones last."""
    by_q = sorted(found, key=lambda one: (one.q is None, -(one.q or 0.0), -(one.prior or 0.0)))
    known = [one for one in found if one.prior is not None]
    likes: defaultdict[str, float] = defaultdict(float)
    for one in known:
        likes[one.turn.decision] += one.prior or 0.0
    first = max(known, key=lambda one: (likes[one.turn.decision], one.prior or 0.0), default=next(iter(by_q), None))
    return () if first is None else (first, *(one for one in by_q if one is not first))


# --- trees ------------------------------------------------------------------------------------------------------------


def _of_node(row: NodeRow, children: Mapping[str, Sequence[NodeRow]]) -> Alternative:
    way = tuple(_most_visited(row, children))
    last = way[-1] if way else row
    return Alternative(
        turn=_turn_of_node(row),
        prior=row.prior,
        q=row.q,
        visits=row.visits,
        then=tuple(map(_turn_of_node, way)),
        correct=last.success,
    )


def _most_visited(row: NodeRow, children: Mapping[str, Sequence[NodeRow]]) -> Iterator[NodeRow]:
    """How the search went on: the chosen way where there is one, else the most visited."""
    while below := [child for child in children.get(row.node_id, ()) if child.visits]:
        row = max(below, key=lambda child: (child.chosen is True, child.visits))
        yield row


def _turn_of_node(row: NodeRow) -> Turn:
    return Turn(
        decision=row.decision or ANSWER,
        text=row.text or "",
        arguments=None if row.arguments is None else json.loads(row.arguments),
        result=row.tool_result,
        failed=row.tool_error is True,
        cost=row.cost_units,
    )


# --- rollouts ---------------------------------------------------------------------------------------------------------


def _of_play(play: Trajectory, units: Units) -> Alternative:
    first, *rest = play.transitions
    rewards = [step.reward for step in play.transitions if step.reward is not None]
    return Alternative(
        turn=_turn_of_step(first, units),
        prior=(first.action.decision_probs or {}).get(first.action.decision),
        q=sum(rewards) if rewards else None,
        visits=1,
        then=tuple(_turn_of_step(step, units) for step in rest),
        correct=play.outcome.success,
    )


def _turn_of_step(step: Transition, units: Units) -> Turn:
    call = step.action.call
    return Turn(
        decision=step.action.decision,
        text=step.action.message.content,
        arguments=None if call is None else call.arguments,
        result="\n".join(result.content for result in step.results) if step.results else None,
        failed=any(result.is_error for result in step.results),
        cost=units(step.cost),
    )


# --- feedback ---------------------------------------------------------------------------------------------------------


def _by_question(feedback: Iterable[Complaint]) -> dict[str, list[Complaint]]:
    found: dict[str, list[Complaint]] = defaultdict(list)
    for one in feedback:
        found[one.question].append(one)
    return found


def _case_of_feedback(prompt: str, problems: Mapping[str, Problem], tools: Sequence[ToolSpec]) -> Case:
    problem = next((one for one in problems.values() if one.prompt == prompt), None)
    if problem is not None:
        return _case(problem, "feedback", tools, ())
    return Case(prompt, "served", "feedback", tuple(tools), max_calls=3, known_answer=None, alternatives=())
