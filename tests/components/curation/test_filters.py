"""Near-duplicates, leaks and the perplexity filter."""

from __future__ import annotations

from doubles import FakeToolbox, make_problem
from hypothesis import given, settings
from hypothesis import strategies as st

from components.curation.demonstrate import Script, answer_action, call_action, trajectories
from components.curation.duplicates import near_duplicates
from components.curation.gain import verdicts
from components.curation.leaks import leaks
from components.curation.settings import CurateSettings
from components.reward.text import plain_words
from components.schema.annotation import AnnotatedCall
from components.schema.problem import CheckerSpec

WORDS = st.lists(
    st.sampled_from(["chad", "capital", "what", "is", "the", "of", "mali", "7", "12"]), min_size=1, max_size=8
)


def slow_near_duplicates(texts: list[str], similarity: float) -> dict[int, int]:
    """Every pair, compared directly."""
    repeats: dict[int, int] = {}
    for index, text in enumerate(texts):
        for earlier in range(index):
            first, second = plain_words(text), plain_words(texts[earlier])
            numbers = [[w for w in row if w.isdigit()] for row in (first, second)]
            alike = len({*first} & {*second}) >= similarity * len({*first} | {*second})
            if earlier not in repeats and numbers[0] == numbers[1] and alike:
                repeats[index] = earlier
                break
    return repeats


@given(st.lists(WORDS.map(" ".join), max_size=12), st.sampled_from([0.6, 0.75, 0.9, 1.0]))
@settings(max_examples=150, deadline=None)
def test_the_fast_search_for_duplicates_finds_what_the_slow_one_finds(texts: list[str], similarity: float) -> None:
    assert near_duplicates(texts, similarity) == slow_near_duplicates(texts, similarity)


def test_other_numbers_make_another_problem() -> None:
    assert near_duplicates(["what is 17 + 24", "what is 17 + 25", "What is 17 + 24?"], 0.9) == {2: 0}


def test_a_call_leaks_when_it_holds_an_answer_that_nobody_told() -> None:
    problem = make_problem()
    assert leaks(problem, {"query": "is N'Djamena the capital of Chad"}, ())
    assert not leaks(problem, {"query": "capital of Chad"}, ())
    assert not leaks(problem, {"query": "area of N'Djamena"}, ("[Chad] N'Djamena",))
    assert not leaks(make_problem(prompt="Is it N'Djamena?"), {"query": "N'Djamena"}, ())


def test_a_puzzle_may_check_its_own_candidate() -> None:
    checker = CheckerSpec("expression", {"numbers": [1, 2], "target": 3})
    problem = make_problem(prompt="Make 3 from 1, 2.", answer="1 + 2", checker=checker)
    assert not leaks(problem, {"code": "1 + 2"}, ())


def test_calls_are_kept_only_when_their_results_make_the_reference_likelier() -> None:
    problem = make_problem()
    call = call_action(AnnotatedCall(tool="search", arguments={"query": "capital Chad"}))
    script = Script(problem, (call, answer_action("It is N'Djamena.")))
    (trajectory,) = trajectories([script], FakeToolbox(default="found"), policy_id="human")

    def judged(plain: float, called: float, answered: float) -> str:
        scores = {(): plain, ("",): called, ("found",): answered}
        rows = [(problem, trajectory)]
        return verdicts(rows, lambda items: [scores[tuple(i[1])] for i in items], CurateSettings())[0]

    assert judged(-2.0, -2.5, -0.1) == "keep"
    assert judged(-0.1, -2.5, -0.1) == "no_gain"
    assert judged(-2.0, -0.15, -0.1) == "no_gain"
    assert judged(-0.1, -0.2, -2.0) == "harm"


def test_demonstrations_without_calls_are_not_scored() -> None:
    problem = make_problem()
    (trajectory,) = trajectories([Script(problem, (answer_action("N'Djamena"),))], FakeToolbox(), policy_id="human")
    assert verdicts([(problem, trajectory)], lambda items: [], CurateSettings()) == ("keep",)
