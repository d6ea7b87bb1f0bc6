"""Preference contrast: against the slow formula, its sign on toy pairs, and where pairs come from."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from doubles import make_problem
from tiny_models import chat, encoder, leaning_llama, specs_of, told, written_call
from toy_groups import PROBLEM, TOOLS, bandit

from components.policy.encode import encode_answer
from components.schema.curated import ActionPreference
from components.schema.trajectory import ANSWER, Action
from components.training.contrasts import annotated_contrasts, judged_contrasts
from components.training.preference import (
    KEEP_CHOSEN,
    Contrast,
    action_log_probs,
    dpo_losses,
    preferences_backward,
    with_clone,
)
from components.training.settings import ReinforceSettings

TOKEN = chat().call_opening[0]
SETTINGS = ReinforceSettings(preference_weight=1.0, preference_beta=0.7)
SEARCH, OTHER = written_call("search", "capital Chad"), written_call("search", "river Mali in the north")
TEXT = encode_answer(chat(), "It is Bamako.")


def _contrast(chosen: Action, rejected: Action, *, confidence: float = 0.9) -> Contrast:
    preference = ActionPreference("p", PROBLEM.problem_id, (), chosen, rejected, confidence)
    (contrast,) = annotated_contrasts([preference], {PROBLEM.problem_id: PROBLEM}, encoder())
    return contrast


def _slow_log_prob(model: Any, action: Action, *, whole: bool = False) -> torch.Tensor:
    """log p(decision) + mean log p(what was written), token by token in fp64."""
    context = chat().prompt_ids(PROBLEM.prompt, specs_of(TOOLS))
    ids = (*context, *(action.message.token_ids or ()))
    logits = model(torch.tensor([ids])).logits[0].double()
    if action.decision == ANSWER:
        first = logits[len(context) - 1]
        decision = torch.log(1.0 - first.softmax(-1)[TOKEN])
        logits = torch.cat(
            [logits[: len(context) - 1], first.index_fill(0, torch.tensor([TOKEN]), -1e9)[None], logits[len(context) :]]
        )
        written = list(range(len(context), len(ids))) if whole else []
    else:
        opening = len(chat().call_opening) + len(chat().encode(action.decision))
        places = range(len(context), len(context) + opening)
        decision = torch.stack([logits[p - 1].log_softmax(-1)[ids[p]] for p in places]).sum()
        written = [len(context) + i for i, free in enumerate(action.written) if free]
    tokens = [logits[p - 1].log_softmax(-1)[ids[p]] for p in written]
    return decision + (torch.stack(tokens).mean() if tokens else 0.0)


@pytest.mark.parametrize(("chosen", "rejected"), [(SEARCH, TEXT), (TEXT, SEARCH), (SEARCH, OTHER)])
def test_an_actions_log_probability_is_its_decision_and_the_mean_of_its_arguments(
    chosen: Action, rejected: Action
) -> None:
    model, contrast = leaning_llama(), _contrast(chosen, rejected)
    with torch.no_grad():
        found = action_log_probs(model, [contrast.chosen, contrast.rejected], call_token=TOKEN)
        slow = [float(_slow_log_prob(model, action)) for action in (chosen, rejected)]
    assert found.tolist() == pytest.approx(slow, abs=1e-3)


def test_of_two_answers_the_text_counts() -> None:
    model, other = leaning_llama(), encode_answer(chat(), "No.")
    contrast = _contrast(TEXT, other)
    with torch.no_grad():
        found = action_log_probs(model, [contrast.chosen, contrast.rejected], call_token=TOKEN)
        slow = [float(_slow_log_prob(model, action, whole=True)) for action in (TEXT, other)]
    assert found.tolist() == pytest.approx(slow, abs=1e-3)


def test_the_gradient_is_that_of_the_slow_formula() -> None:
    clone, fast, slow = leaning_llama(), leaning_llama(), leaning_llama()
    with torch.no_grad():
        for model in (fast, slow):
            model.model.norm.weight.mul_(1.1)
    contrast, confidence, beta = _contrast(SEARCH, TEXT, confidence=0.8), 0.8, SETTINGS.preference_beta
    pairs = with_clone(clone, [contrast], call_token=TOKEN, tokens_per_pass=512)
    metrics = preferences_backward(fast, pairs, SETTINGS, call_token=TOKEN)
    with torch.no_grad():
        reference = _slow_log_prob(clone, SEARCH) - _slow_log_prob(clone, TEXT)
    chosen = _slow_log_prob(slow, SEARCH)
    odds = torch.sigmoid(beta * (chosen - _slow_log_prob(slow, TEXT) - reference))
    loss = -confidence * odds.log() - (1 - confidence) * (1 - odds).log()
    (loss - KEEP_CHOSEN * (2 * confidence - 1) * chosen).backward()
    assert metrics["loss/preference"] == pytest.approx(float(loss.detach()), abs=1e-3)
    for name, parameter in slow.named_parameters():
        found = dict(fast.named_parameters())[name].grad
        if parameter.grad is not None and found is not None:
            assert torch.allclose(found, parameter.grad, rtol=1e-2, atol=1e-3), name


def test_the_preferred_action_gains_on_the_other() -> None:
    model, contrast = leaning_llama(), _contrast(TEXT, SEARCH)
    pairs = with_clone(model, [contrast], call_token=TOKEN, tokens_per_pass=512)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        optimiser.zero_grad()
        preferences_backward(model, pairs, SETTINGS, call_token=TOKEN)
        optimiser.step()
    (after,) = with_clone(model, [contrast], call_token=TOKEN, tokens_per_pass=512)
    assert after.clone_margin > pairs[0].clone_margin + 0.1


def test_smoothing_stops_where_the_odds_are_those_of_the_annotators() -> None:
    margins = torch.tensor([0.0, math.log(4.0), 5.0], requires_grad=True)
    dpo_losses(margins, torch.zeros(3), torch.full((3,), 0.8), beta=1.0).sum().backward()  # type: ignore[no-untyped-call]
    assert margins.grad is not None
    assert margins.grad.tolist() == pytest.approx([-0.3, 0.0, 0.1933], abs=1e-3)


def test_a_pair_that_nobody_can_tell_apart_moves_nothing_at_the_clone() -> None:
    model = leaning_llama()
    pairs = with_clone(model, [_contrast(TEXT, SEARCH, confidence=0.5)], call_token=TOKEN, tokens_per_pass=512)
    preferences_backward(model, pairs, SETTINGS, call_token=TOKEN)
    assert all(p.grad is None or float(p.grad.abs().max()) < 1e-6 for p in model.parameters())


def test_judged_groups_contrast_the_best_decision_with_those_that_are_clearly_worse() -> None:
    group = bandit({ANSWER: 0.2, "search": 0.9, "python": 0.85})
    (contrast,) = judged_contrasts([group], encoder(), SETTINGS)
    assert contrast.confidence == pytest.approx(1 / (1 + math.exp(-0.7 / SETTINGS.decision_temperature)))
    assert contrast.chosen.calls
    assert contrast.rejected.stays
    assert contrast.rejected.answers == ()


def test_an_annotated_choice_after_calls_teaches_that_choice_alone() -> None:
    before = told(PROBLEM, [("search", "capital Chad", "N'Djamena")], "x").transitions[:1]
    preference = ActionPreference("p", PROBLEM.problem_id, before, TEXT, OTHER, 0.9)
    known = {PROBLEM.problem_id: PROBLEM}
    (contrast,) = annotated_contrasts([preference], known, encoder())
    assert (contrast.chosen.calls, len(contrast.chosen.stays), contrast.chosen.arguments) == ((), 1, ())
    assert len(contrast.rejected.calls) == 1
    assert "N'Djamena" in chat().decode(contrast.rejected.ids[: contrast.rejected.calls[0][0]])
    assert annotated_contrasts([preference], {"other": make_problem("Else?")}, encoder()) == []
