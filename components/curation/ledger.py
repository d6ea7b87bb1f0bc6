"""The books of curation: what was kept and what was dropped, and why. Takes decisions; gives rejects and counts.

It decides nothing. A reject of curation has line 0 and names the row by its annotation or problem id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from components.records.jsonl import dump_line
from components.records.quarantine import SHOWN, Reject
from components.schema.annotation import Annotation, annotation_json
from components.schema.problem import Problem

REASONS: Mapping[str, str] = {
    "gold_fails_checker": "its own reference does not pass its checker. Fix: correct reference or checker",
    "no_own_answer": "the base model has nothing to say to it. Fix: write another prompt",
    "own_answer_too_long": "the base model answers with more than chat_max_words words. Fix: ask something plainer",
    "own_answer_unfinished": "the base model's answer has no sentence end. Fix: ask something plainer",
    "held_out": "its prompt belongs to the validation or test split. Fix: annotate train problems",
    "unknown_prompt": "no problem has this prompt, and it has no reference. Fix: copy the prompt or add a reference",
    "left_out": "curate.left_out_annotators names its annotator. Fix: take the name out of params.yaml",
    "near_duplicate": "it repeats an earlier annotation. Fix: remove one of them",
    "too_many_calls": "it makes more calls than the problem allows. Fix: leave calls out",
    "wrong_answer": "its answer does not pass the problem's checker. Fix: correct the answer",
    "leak": "a call holds the answer, which neither the prompt nor an earlier result has. Fix: ask without the answer",
    "cut_short": "a step that answers no sub-task ends it. Fix: answer only what a split has opened",
    "failed_call": "a call fails when it is replayed. Fix: correct the arguments",
    "no_gain": "its calls do not make the reference more likely. Fix: make a call that shows the answer",
    "harm": "its calls make the reference less likely. Fix: answer directly or make a better call",
}


class Ledger:
    """Counts and rejects, in the order in which they were entered."""

    def __init__(self) -> None:
        self.rejects: list[Reject] = []
        self._dropped: Counter[tuple[str, str, str]] = Counter()
        self._kept: Counter[tuple[str, str]] = Counter()
        self._skipped: Counter[str] = Counter()

    def keep(self, kind: str, family: str) -> None:
        """One row kept."""
        self._kept[kind, family] += 1

    def skip(self, reason: str) -> None:
        """One row that this profile does not use; no fault of the row."""
        self._skipped[reason] += 1

    def drop(self, annotation: Annotation, family: str, reason: str, field: str = "") -> None:
        """One annotation into quarantine."""
        self._dropped[annotation.kind, family, reason] += 1
        text = dump_line(annotation_json(annotation))
        self._reject(f"annotation {annotation.annotation_id}", field, reason, text)

    def drop_problem(self, problem: Problem, reason: str) -> None:
        """One problem into quarantine."""
        self._dropped["problem", problem.family, reason] += 1
        self._reject(f"problem {problem.problem_id}", "", reason, problem.prompt)

    def _reject(self, place: str, field: str, reason: str, text: str) -> None:
        self.rejects.append(
            Reject(file=place, line=0, field=field, reason=f"{reason}: {REASONS[reason]}", text=text[:SHOWN])
        )

    def report(self) -> dict[str, Any]:
        """Counts by kind, reason and family."""
        return {
            "kept": _nested(self._kept),
            "dropped": _nested(self._dropped),
            "dropped_by_reason": dict(sorted(_by_reason(self._dropped).items())),
            "not_in_profile": dict(self._skipped),
        }


def _by_reason(dropped: Counter[tuple[str, str, str]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for (_, _, reason), count in dropped.items():
        counts[reason] += count
    return counts


def _nested(counts: Mapping[Any, int]) -> dict[str, Any]:
    """Counts by tuples of names as nested mappings."""
    nested: dict[str, Any] = {}
    for names, count in sorted(counts.items()):
        inner = nested
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
        inner[names[-1]] = count
    return nested
