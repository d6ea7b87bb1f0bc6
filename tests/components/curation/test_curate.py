"""The whole of curation with a scripted model, on generated and on hand-made annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from doubles import FakeClock, FakeToolbox, cut_words, make_problem

from components.curation.corpus import Corpus
from components.curation.curate import CuratedData, curate
from components.curation.families import select_problems
from components.curation.seed_annotations import annotated_problems, make_seed, write_seed
from components.curation.seed_composite import make_composite_seed
from components.curation.settings import CurateSettings
from components.records.annotations import AnnotationBatch, read_annotations, write_annotations
from components.reward.checkers import check
from components.schema.annotation import ANNOTATION, Annotation
from components.schema.nested import nested_in
from components.schema.problem import Problem, Reference
from components.schema.trajectory import ANSWER
from components.tools.composite import offered
from components.tools.open_toolbox import open_toolbox
from components.tools.prices import PriceSheet
from components.tools.settings import ToolSettings
from components.tools.spec import KNOWN_SPECS

CHAD = make_problem()
MALI = make_problem(prompt="What is the capital of Mali?", answer="Bamako", group="mali", split="test")
CHAT = make_problem(prompt="Hello!", answer="stand-in", family="chat", group="hello")


def score(items: Sequence[tuple[str, Sequence[str], Reference]]) -> list[float]:
    """A reader that knows what stands in front of it."""
    return [-0.1 if any(reference.answer in text for text in shown) else -3.0 for _, shown, reference in items]


def annotation(number: int, **fields: Any) -> Annotation:
    base = {
        "kind": "demonstration",
        "annotation_id": f"a{number}",
        "prompt": CHAD.prompt,
        "annotator": "someone",
        "created": datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
    }
    extra = (
        {"steps": [], "answer": "It is N'Djamena."} if fields.get("kind", "demonstration") == "demonstration" else {}
    )
    return ANNOTATION.validate_python({**base, **extra, **fields})


def search(text: str) -> dict[str, Any]:
    return {"tool": "search", "arguments": {"query": text}}


def run(
    *annotations: Annotation,
    answer: str = "It is N'Djamena.",
    shown: str = "Capital: N'Djamena",
    most: int | None = None,
) -> CuratedData:
    return curate(
        AnnotationBatch(annotations=annotations, rejects=()),
        (CHAD, MALI, CHAT),
        pool={"What is the area of Fiji?": "train", "What is the area of Peru?": "test"},
        settings=CurateSettings(most_demonstrations=most),
        ask=lambda prompts: [answer] * len(prompts),
        score_reference=score,
        toolbox=FakeToolbox(default=shown),
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"prompt": MALI.prompt}, "held_out"),
        ({"prompt": "What is the area of Peru?"}, "held_out"),
        ({"prompt": "Unheard of?"}, "unknown_prompt"),
        ({"answer": "It is Lima."}, "wrong_answer"),
        ({"steps": [search("a"), search("b"), search("c"), search("d")]}, "too_many_calls"),
        ({"steps": [search("N'Djamena")]}, "leak"),
        ({"kind": "pair", "reference": {"text": "It is Lima.", "answer": "Lima"}}, "wrong_answer"),
    ],
)
def test_a_bad_annotation_is_dropped_with_its_reason(fields: dict[str, Any], reason: str) -> None:
    data = run(annotation(1, **fields), annotation(2, steps=[search("capital of Chad")]))
    assert data.report["dropped_by_reason"] == {reason: 1}
    (reject,) = data.rejects
    assert reject.file == "annotation a1"
    assert reason in reject.reason
    assert "Fix:" in reject.reason
    assert len(data.demonstrations) == 1


def test_useless_calls_are_dropped_and_near_duplicates_too() -> None:
    row = annotation(1, steps=[search("capital of Chad")])
    again = annotation(2, steps=[search("Capital of CHAD ")])
    assert run(row, again).report["dropped_by_reason"] == {"near_duplicate": 1}
    assert run(row, shown="nothing here").report["dropped_by_reason"] == {"no_gain": 1}


def test_a_prompt_of_another_profile_is_no_fault() -> None:
    data = run(annotation(1, prompt="What is the area of Fiji?"))
    assert data.rejects == ()
    assert data.report["not_in_profile"] == {"demonstration": 1}


def test_no_more_demonstrations_are_scored_than_asked_for_and_more_are_those_and_others() -> None:
    asked = ("the capital of Chad", "Sahel atlas page two", "seat of its government", "main town", "who rules where")
    rows = [annotation(number, steps=[search(text)]) for number, text in enumerate(asked)]
    pair = annotation(9, kind="pair", reference={"text": "It is N'Djamena.", "answer": "N'Djamena"})
    drawn = []
    for most in (2, 3, None):
        data = run(*rows, pair, most=most)
        assert len(data.pairs) == 1, "a pair is scored by nobody"
        assert data.rejects == ()
        left = len(rows) - (most or len(rows))
        assert data.report["not_in_profile"] == ({"beyond_most_demonstrations": left} if left else {})
        drawn.append({one.transitions[0].action.message.content for one in data.demonstrations})
    assert [len(queries) for queries in drawn] == [2, 3, len(asked)]
    assert drawn[0] < drawn[1] < drawn[2]


def test_a_new_prompt_with_a_reference_becomes_a_train_problem() -> None:
    reference = {"text": "Tea comes from a plant.", "answer": "a plant"}
    data = run(annotation(1, kind="pair", prompt="Where does tea come from?", reference=reference))
    (made,) = [problem for problem in data.problems if problem.family == "annotated"]
    assert made.split == "train"
    assert data.pairs[0].problem_id == made.problem_id


def test_demonstrations_carry_real_results_and_no_tokens() -> None:
    (trajectory,) = run(annotation(1, steps=[search("capital of Chad")])).demonstrations
    first, last = trajectory.transitions
    assert trajectory.policy_id == "human"
    assert first.action.message.content.startswith('<tool_call>{"name": "search"')
    assert first.results[0].content == "Capital: N'Djamena"
    assert first.action.message.token_ids is None
    assert last.action.decision == ANSWER
    assert trajectory.outcome.success is True


def test_knownness_is_measured_and_chat_takes_the_models_own_words() -> None:
    data = run(annotation(1, prompt=CHAT.prompt, answer=None))
    by_prompt = {problem.prompt: problem for problem in data.problems}
    assert "fact_known" in by_prompt[CHAD.prompt].slices
    assert "fact_unknown" in by_prompt[MALI.prompt].slices
    assert by_prompt[CHAT.prompt].reference.text == "It is N'Djamena."
    assert data.demonstrations[0].outcome.answer == "It is N'Djamena."
    assert {trajectory.policy_id for trajectory in data.direct} == {"base"}


def test_chat_without_an_answer_of_the_model_is_dropped() -> None:
    data = run(answer=" ")
    assert data.report["dropped_by_reason"] == {"no_own_answer": 1}
    assert CHAT.prompt not in {problem.prompt for problem in data.problems}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("It is N'Djamena, a city that", "own_answer_unfinished"),
        (f"It is {'very ' * 20}warm.", "own_answer_too_long"),
        ("It is “warm.”", None),
        ("Warm!", None),
    ],
)
def test_chat_is_kept_only_with_a_short_whole_sentence_of_the_model(answer: str, reason: str | None) -> None:
    data = run(answer=answer)
    assert data.report["dropped_by_reason"] == ({reason: 1} if reason else {})
    assert (CHAT.prompt in {problem.prompt for problem in data.problems}) == (reason is None)


def test_a_fact_may_be_answered_at_length() -> None:
    data = run(answer=f"It is N'Djamena, {'a large city ' * 8}")
    assert {CHAD.prompt, MALI.prompt} <= {problem.prompt for problem in data.problems}


def test_harmful_calls_become_a_direct_answer_where_the_model_is_right() -> None:
    def prefers_silence(items: Sequence[tuple[str, Sequence[str], Reference]]) -> list[float]:
        return [-5.0 if any(shown) else -0.1 for _, shown, _ in items]

    data = curate(
        AnnotationBatch((annotation(1, steps=[search("capital of Chad")]),), ()),
        (CHAD,),
        pool={},
        settings=CurateSettings(),
        ask=lambda prompts: ["It is N'Djamena."] * len(prompts),
        score_reference=prefers_silence,
        toolbox=FakeToolbox(),
    )
    assert data.report["kept"] == {"abstain": {"fact": 1}}
    assert [len(trajectory.transitions) for trajectory in data.demonstrations] == [1]


def test_preferences_keep_both_actions() -> None:
    chosen, rejected = search("capital of Chad"), {"answer": "no idea"}
    (kept,) = run(annotation(1, kind="preference", chosen=chosen, rejected=rejected, confidence=0.9)).preferences
    assert kept.chosen.decision == "search"
    assert kept.rejected.message.content == "no idea"


def test_the_seed_set_is_deterministic_valid_and_about_train_problems(
    corpus: Corpus, pool: tuple[Problem, ...], seed_rows: tuple[Annotation, ...], tmp_path: Path
) -> None:
    train = [problem for problem in pool if problem.split == "train"]
    count = write_seed(tmp_path / "seed.jsonl", corpus.facts, train[:300], seed=0)
    batch = read_annotations(tmp_path, tools=KNOWN_SPECS)
    assert batch.rejects == ()
    assert len(batch.annotations) == count
    assert tuple(make_seed(corpus.facts, train[:300], seed=0)) == batch.annotations
    assert {row.prompt for row in seed_rows} <= {problem.prompt for problem in train}
    assert all(row.annotator.startswith("seed-script/") for row in seed_rows)
    kinds = Counter(row.kind for row in seed_rows)
    assert kinds["pair"] > 0.05 * len(seed_rows)
    assert kinds["preference"] > 0.05 * len(seed_rows)


def test_a_nested_question_is_played_as_somebody_showed_it_and_sub_tasks_are_answered() -> None:
    tools = ("search", "delegate", "split")
    chad = replace(CHAD, tool_names=tools, budget=replace(CHAD.budget, max_calls=6))
    shown = annotation(1, prompt="Where is it?", steps=[search("where")], answer="In Chad.")
    delegated = annotation(2, steps=[{"tool": "delegate", "arguments": {"question": "Where is it?"}}])
    split = annotation(
        3,
        steps=[
            {"tool": "split", "arguments": {"tasks": ["Find the country.", "Find its capital."]}},
            {"answer": "Chad."},
            search("its capital"),
            {"answer": "N'Djamena."},
        ],
    )
    unknown = annotation(4, steps=[{"tool": "delegate", "arguments": {"question": "Who knows?"}}])
    early = annotation(5, steps=[{"answer": "It is N'Djamena."}, search("capital of Chad")])
    data = curate(
        AnnotationBatch((shown, delegated, split, unknown, early), ()),
        (chad,),
        pool={"Where is it?": "train"},
        settings=CurateSettings(tau_keep=0.0),
        ask=lambda prompts: ["I do not know."] * len(prompts),
        score_reference=score,
        toolbox=FakeToolbox(default="Capital: N'Djamena"),
        tools=tools,
    )
    assert data.report["dropped_by_reason"] == {"failed_call": 1, "cut_short": 1}
    nested, tasks = data.demonstrations
    ((_, inner),) = nested_in(nested)
    assert (inner.outcome.answer, inner.outcome.success, inner.policy_id) == ("In Chad.", None, "human")
    assert nested.transitions[0].results[0].content == "In Chad."
    assert nested.outcome.cost.calls == 2
    assert [transition.action.decision for transition in tasks.transitions] == [
        "split",
        ANSWER,
        "search",
        ANSWER,
        ANSWER,
    ]
    assert tasks.outcome.success is True


def test_the_seed_set_shows_nested_calls_and_sub_tasks_where_they_are_on_offer(
    corpus: Corpus, pool: tuple[Problem, ...], seed_rows: tuple[Annotation, ...], tmp_path: Path
) -> None:
    about, calls = annotated_problems(pool), ("delegate", "split", "give_up")
    rows = tuple(make_composite_seed(corpus.facts, about, calls=calls, seed=0))
    assert tuple(make_composite_seed(corpus.facts, about, calls=("give_up",), seed=0)) == ()
    write_annotations(tmp_path / "rows.jsonl", rows)
    settings = ToolSettings.model_validate({"composite": {"tools": calls}})
    toolbox = open_toolbox(settings, PriceSheet(), corpus.passages, cut=cut_words, clock=FakeClock(), engine="natural")
    batch = read_annotations(tmp_path, tools=toolbox.specs())
    assert (batch.annotations, batch.rejects) == (rows, ())
    few = rows[:24]
    by_prompt = {problem.prompt: offered(problem, settings.composite) for problem in about}
    data = curate(
        AnnotationBatch((*few, *seed_rows), ()),
        [by_prompt[row.prompt] for row in few],
        pool={problem.prompt: problem.split for problem in pool},
        settings=CurateSettings(),
        ask=lambda prompts: ["I do not know."] * len(prompts),
        score_reference=score,
        toolbox=toolbox,
        tools=[spec.name for spec in toolbox.specs()],
    )
    toolbox.close()
    kept = Counter(trajectory.transitions[0].action.decision for trajectory in data.demonstrations)
    assert kept["split"] >= 5
    nested = [inner for trajectory in data.demonstrations for _, inner in nested_in(trajectory)]
    assert len(nested) >= 5
    assert all(inner.outcome.answer and inner.transitions[0].action.decision == "search" for inner in nested)
    for family in ("two_hop", "fact_compute"):
        of_family = {problem.prompt for problem in about if problem.family == family}
        assert 0.1 < sum(row.prompt in of_family for row in rows) / len(of_family) < 0.25


def test_the_seed_set_of_the_demo_passes_curation_with_real_tools(
    corpus: Corpus, pool: tuple[Problem, ...], seed_rows: tuple[Annotation, ...]
) -> None:
    settings = CurateSettings(train_size=200)
    toolbox = open_toolbox(
        ToolSettings(), PriceSheet(), corpus.passages, cut=cut_words, clock=FakeClock(), engine="natural"
    )
    data = curate(
        AnnotationBatch(seed_rows, ()),
        select_problems(pool, settings),
        pool={problem.prompt: problem.split for problem in pool},
        settings=settings,
        ask=lambda prompts: ["I do not know."] * len(prompts),
        score_reference=score,
        toolbox=toolbox,
    )
    toolbox.close()
    problems = {problem.problem_id: problem for problem in data.problems}
    assert len(data.demonstrations) >= 120
    assert {problems[t.problem_id].family for t in data.demonstrations} >= {"two_hop", "compute", "puzzle", "chat"}
    for trajectory in data.demonstrations:
        assert check(problems[trajectory.problem_id], trajectory.outcome.answer or "")
        assert problems[trajectory.problem_id].split == "train"
    assert {"near_duplicate", "no_gain"} <= set(data.report["dropped_by_reason"])
