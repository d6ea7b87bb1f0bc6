"""Golden prompts: a version that cannot answer them is not served, and none of them can hold up a promotion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from served import HeldTool, leaning_policy, toolbox, version

from components.serving.asking import Asked
from components.serving.golden import NotFit, check_golden
from components.serving.settings import GoldenPrompt, ServeSettings
from components.serving.stock import Served
from components.tools.settings import CompositeSettings

COMPOSITE = CompositeSettings()


@pytest.fixture
def leaning() -> Iterator[Served]:
    one = version("1", leaning_policy(), toolbox())
    yield one
    one.engine.close()


def settings(*prompts: GoldenPrompt, seconds: float = 60.0, **limits: Any) -> ServeSettings:
    return ServeSettings.model_validate({"golden": prompts, "limits": {"seconds": seconds, **limits}})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What every version is asked."""
    seen: list[Asked] = []
    talk = Served.talk

    def noted(self: Served, what: Asked, *more: Any) -> Any:
        seen.append(what)
        return talk(self, what, *more)

    monkeypatch.setattr(Served, "talk", noted)
    return seen


def test_a_version_that_answers_is_fit_and_was_asked_everything(leaning: Served, asked: list[Asked]) -> None:
    check_golden(leaning, settings(GoldenPrompt(prompt="Hi"), GoldenPrompt(prompt="2+2?")), composite=COMPOSITE)
    assert [(one.question, one.choice) for one in asked] == [
        ("Hi", None), ("Hi", "required"), ("2+2?", None), ("2+2?", "required")
    ]  # fmt: skip


def test_the_first_decision_can_be_asked_for(leaning: Served) -> None:
    found = []
    for tool in ("search", "python"):
        try:
            check_golden(leaning, settings(GoldenPrompt(prompt="Hi", tool=tool)), composite=COMPOSITE)
        except NotFit as error:
            found.append(str(error))
    assert found
    assert all("'Hi': the first decision is" in text for text in found)


def test_what_the_answer_must_contain_is_looked_for(leaning: Served) -> None:
    wanted = GoldenPrompt(prompt="2+2?", contains="forty-two")
    with pytest.raises(NotFit, match=r"'2\+2\?': the answer .* does not contain 'forty-two'"):
        check_golden(leaning, settings(GoldenPrompt(prompt="Hi"), wanted), composite=COMPOSITE)


def test_a_tool_that_never_returns_makes_the_version_unfit() -> None:
    held = HeldTool()
    one = version("1", leaning_policy(), toolbox(held))
    try:
        with pytest.raises(NotFit, match=r"'Hi' is not answered within 0.5 s"):
            check_golden(one, settings(GoldenPrompt(prompt="Hi"), seconds=0.5), composite=COMPOSITE)
        assert held.called.wait(60)
    finally:
        held.go.set()
        one.engine.close()


def test_an_answer_is_cut_at_its_tokens_and_all_are_asked_at_once(leaning: Served, asked: list[Asked]) -> None:
    prompts = GoldenPrompt(prompt="Hi", contains="never said", tokens=3), GoldenPrompt(prompt="2+2?")
    with pytest.raises(NotFit):
        check_golden(leaning, settings(*prompts), composite=COMPOSITE)
    assert [one.state.problem.budget.max_answer_tokens for one in asked] == [3, 3, 32, 32]
