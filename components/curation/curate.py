"""Curation: problems and annotations in, training material out. The order of its filters is the order of this file.

Takes the profile's problems, the whole pool's prompts, an annotation batch, the base model (as `Ask` and
`ScoreReference`) and a toolbox with the annotators' engine; gives problems, demonstrations, preferences, pairs, direct
answers, what was dropped and a report. It writes no files and trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.curation.demonstrate import (
    BASE,
    HUMAN,
    Known,
    Script,
    action_of,
    answer_action,
    call_action,
    direct,
    play_all,
    trajectories,
)
from components.curation.duplicates import near_duplicates
from components.curation.gain import ScoreReference, results_of, verdicts
from components.curation.knownness import Ask, ask_base, chat_fault, complete
from components.curation.leaks import leaks
from components.curation.ledger import Ledger
from components.curation.matching import Match, match_all
from components.curation.problem_making import TOOLS
from components.curation.settings import CurateSettings
from components.records.annotations import AnnotationBatch
from components.records.quarantine import Reject
from components.reward.checkers import check
from components.reward.text import plain_words
from components.schema.annotation import AnnotatedCall, Annotation, Demonstration, Pair, Preference, calls_of
from components.schema.curated import ActionPreference, ReferencePair
from components.schema.identity import stable_hash
from components.schema.problem import Problem, Reference, Split
from components.schema.trajectory import Trajectory
from components.tools.spec import ToolCaller


@dataclass(frozen=True, slots=True)
class CuratedData:
    """What the stage `curate` writes."""

    problems: tuple[Problem, ...]
    demonstrations: tuple[Trajectory, ...]
    preferences: tuple[ActionPreference, ...]
    pairs: tuple[ReferencePair, ...]
    direct: tuple[Trajectory, ...]
    """The base model's own answers to train problems, right or wrong."""
    rejects: tuple[Reject, ...]
    report: Mapping[str, Any]


def curate(
    batch: AnnotationBatch,
    problems: Sequence[Problem],
    *,
    pool: Mapping[str, Split],
    settings: CurateSettings,
    ask: Ask,
    score_reference: ScoreReference,
    toolbox: ToolCaller,
    tools: Sequence[str] = TOOLS,
) -> CuratedData:
    """Everything that training and evaluation read; `pool` maps the prompts of all profiles to their splits.

    `tools`: names of the open tools; every problem may use all of them.
    """
    ledger = Ledger()
    batch = _without(batch, settings.left_out_annotators, ledger)
    answers = ask_base(problems, ask, settings)
    completed = _completed(problems, answers, settings, ledger)
    asked = tuple(replace(problem, tool_names=tuple(tools)) for problem in completed)
    by_prompt = {problem.prompt: problem for problem in asked}
    matches = tuple(match_all(batch.annotations, by_prompt, pool, ledger, tools=tools))
    matches = tuple(_sound(_distinct(matches, settings, ledger), ledger))
    matches = tuple(_enough(matches, settings, ledger))
    known = _known(batch.annotations)
    demonstrations = tuple(_demonstrations(matches, answers, settings, score_reference, toolbox, ledger, known))
    own = {match.problem.problem_id: match.problem for match in matches if match.problem.family == "annotated"}
    kept = (*asked, *own.values())
    told = tuple(_direct(asked, answers, toolbox))
    return CuratedData(
        problems=kept,
        demonstrations=demonstrations,
        preferences=tuple(_preferences(matches, toolbox, ledger)),
        pairs=tuple(_pairs(matches, ledger)),
        direct=told,
        rejects=(*batch.rejects, *ledger.rejects),
        report={**ledger.report(), **_counts(kept, told), "malformed_rows": len(batch.rejects)},
    )


def _without(batch: AnnotationBatch, annotators: Sequence[str], ledger: Ledger) -> AnnotationBatch:
    """The rows of the others; those of `annotators` go into quarantine."""
    kept = []
    for annotation in batch.annotations:
        if annotation.annotator in annotators:
            ledger.drop(annotation, "any", "left_out")
        else:
            kept.append(annotation)
    return replace(batch, annotations=tuple(kept))


def _completed(
    problems: Sequence[Problem], answers: Mapping[str, str], settings: CurateSettings, ledger: Ledger
) -> Iterator[Problem]:
    """Problems whose reference passes their checker, with what the base model's answers add."""
    for problem in problems:
        fault = chat_fault(problem, answers, settings)
        if fault is not None:
            ledger.drop_problem(problem, fault)
            continue
        done = complete(problem, answers, settings)
        if not check(done, done.reference.text):
            ledger.drop_problem(done, "gold_fails_checker")
        else:
            yield done


def _distinct(matches: Sequence[Match], settings: CurateSettings, ledger: Ledger) -> Iterator[Match]:
    repeats = near_duplicates([_text(match.annotation) for match in matches], settings.duplicate_similarity)
    for index, match in enumerate(matches):
        if index in repeats:
            ledger.drop(match.annotation, match.problem.family, "near_duplicate")
        else:
            yield match


def _text(annotation: Annotation) -> str:
    """What makes an annotation: kind, prompt, calls and answer; a word in a call is another than in the prompt."""
    written = " ".join(
        str(value) for _, call in calls_of(annotation) for value in (call.tool, *call.arguments.values())
    )
    calls = " ".join(f"call{word}" for word in plain_words(written))
    answer = annotation.answer if isinstance(annotation, Demonstration) else ""
    return f"{annotation.kind} {annotation.prompt} {calls} {answer or ''}"


def _sound(matches: Iterator[Match], ledger: Ledger) -> Iterator[Match]:
    """Annotations that break no rule that can be seen without tools and models."""
    for match in matches:
        fault = _fault(match)
        if fault is None:
            yield match
        else:
            ledger.drop(match.annotation, match.problem.family, *fault)


def _enough(matches: Sequence[Match], settings: CurateSettings, ledger: Ledger) -> Iterator[Match]:
    """All but the demonstrations beyond the most that are asked for, drawn by their ids."""
    ids = [match.annotation.annotation_id for match in matches if isinstance(match.annotation, Demonstration)]
    drawn = set(sorted(ids, key=lambda name: stable_hash(["demonstration", name]))[: settings.most_demonstrations])
    for match in matches:
        if isinstance(match.annotation, Demonstration) and match.annotation.annotation_id not in drawn:
            ledger.skip("beyond_most_demonstrations")
        else:
            yield match


def _fault(match: Match) -> tuple[str, str] | None:
    """Reason and field of what is wrong."""
    annotation, problem = match.annotation, match.problem
    if isinstance(annotation, Pair):
        right = check(problem, annotation.reference.text)
        return None if right else ("wrong_answer", "reference.text")
    if sum(isinstance(step, AnnotatedCall) for step in annotation.steps) > problem.budget.max_calls:
        return "too_many_calls", "steps"
    if isinstance(annotation, Demonstration) and annotation.answer and not check(problem, annotation.answer):
        return "wrong_answer", "answer"
    return None


def _demonstrations(
    matches: Sequence[Match],
    answers: Mapping[str, str],
    settings: CurateSettings,
    score: ScoreReference,
    toolbox: ToolCaller,
    ledger: Ledger,
    known: Known,
) -> Iterator[Trajectory]:
    """Replayed, clean and useful demonstrations; harmful calls become direct answers where the base model is right."""
    rows = [(match.annotation, match.problem) for match in matches if isinstance(match.annotation, Demonstration)]
    scripts = [_script(annotation, problem, answers) for annotation, problem in rows]
    played = trajectories(scripts, toolbox, policy_id=HUMAN, known=known)
    clean: list[tuple[Demonstration, Problem, Trajectory]] = []
    for (annotation, problem), script, trajectory in zip(rows, scripts, played, strict=True):
        fault = _replay_fault(script, trajectory)
        if fault is None:
            clean.append((annotation, problem, trajectory))
        else:
            ledger.drop(annotation, problem.family, *fault)
    judged = verdicts([(problem, trajectory) for _, problem, trajectory in clean], score, settings)
    for (annotation, problem, trajectory), verdict in zip(clean, judged, strict=True):
        answer = answers.get(problem.prompt)
        if verdict == "keep":
            ledger.keep("demonstration", problem.family)
            yield trajectory
        elif verdict == "harm" and answer is not None and check(problem, answer):
            ledger.keep("abstain", problem.family)
            yield trajectories([direct(problem, answer)], toolbox, policy_id=HUMAN)[0]
        else:
            ledger.drop(annotation, problem.family, verdict, "steps")


def _known(annotations: Sequence[Annotation]) -> Known:
    """How people worked on every prompt that somebody showed, of this profile or not: nested calls ask them."""
    return {
        row.prompt: (*map(action_of, row.steps), answer_action(row.answer))
        for row in reversed(annotations)
        if isinstance(row, Demonstration) and row.answer
    }


def _script(annotation: Demonstration, problem: Problem, answers: Mapping[str, str]) -> Script:
    """The annotated turns; an answer of null is the base model's own where it was asked, else the reference."""
    answer = annotation.answer or answers.get(problem.prompt) or problem.reference.text
    return Script(problem, (*map(action_of, annotation.steps), answer_action(answer)))


def _replay_fault(script: Script, trajectory: Trajectory) -> tuple[str, str] | None:
    """Reason and field of the first step that leaks the answer, fails, or ends the play before its last one."""
    problem = script.problem
    results = results_of(trajectory)
    for index, transition in enumerate(trajectory.transitions):
        call = transition.action.call
        if call is not None and leaks(problem, call.arguments, results[:index]):
            return "leak", f"steps[{index}].arguments"
        if any(result.is_error for result in transition.results):
            return "failed_call", f"steps[{index}]"
    early = len(trajectory.transitions) < len(script.actions)
    return ("cut_short", f"steps[{len(trajectory.transitions) - 1}]") if early else None


def _preferences(matches: Sequence[Match], toolbox: ToolCaller, ledger: Ledger) -> Iterator[ActionPreference]:
    rows = [(match.annotation, match.problem) for match in matches if isinstance(match.annotation, Preference)]
    scripts = [Script(problem, tuple(map(call_action, annotation.steps))) for annotation, problem in rows]
    for (annotation, problem), played in zip(rows, play_all(scripts, toolbox), strict=True):
        chosen = action_of(annotation.chosen)
        shown = [result.content for transition in played.transitions for result in transition.results]
        if chosen.call is not None and leaks(problem, chosen.call.arguments, shown):
            ledger.drop(annotation, problem.family, "leak", "chosen.arguments")
            continue
        ledger.keep("preference", problem.family)
        yield ActionPreference(
            preference_id=annotation.annotation_id,
            problem_id=problem.problem_id,
            steps=played.transitions,
            chosen=chosen,
            rejected=action_of(annotation.rejected),
            confidence=annotation.confidence,
        )


def _pairs(matches: Sequence[Match], ledger: Ledger) -> Iterator[ReferencePair]:
    for match in matches:
        if isinstance(match.annotation, Pair):
            given = match.annotation.reference
            ledger.keep("pair", match.problem.family)
            reference = Reference(text=given.text, answer=given.answer, aliases=given.aliases)
            yield ReferencePair(match.annotation.annotation_id, match.problem.problem_id, reference)


def _direct(problems: Sequence[Problem], answers: Mapping[str, str], toolbox: ToolCaller) -> tuple[Trajectory, ...]:
    """The base model's own answers to the train problems it was asked."""
    own = [problem for problem in problems if problem.split == "train" and problem.prompt in answers]
    return trajectories([direct(problem, answers[problem.prompt]) for problem in own], toolbox, policy_id=BASE)


def _counts(problems: Sequence[Problem], told: Sequence[Trajectory]) -> dict[str, Any]:
    """How many problems of which family and slice there are, by split, and how often the base model is right."""
    by_split: dict[str, dict[str, int]] = {}
    for problem in problems:
        counts = by_split.setdefault(problem.split, {})
        for name in ("all", *problem.slices):
            counts[name] = counts.get(name, 0) + 1
    right = sum(bool(trajectory.outcome.success) for trajectory in told)
    return {"problems": by_split, "direct": {"asked": len(told), "right": right}}
