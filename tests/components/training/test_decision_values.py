"""Decision heads: fitted in closed form, judged on groups that they did not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from doubles import make_problem
from pydantic import ValidationError
from sklearn.linear_model import Ridge
from tiny_models import encoder, leaning_llama, tiny_other
from toy_groups import bandit, vocabulary

from components.schema.trajectory import ANSWER, Trajectory
from components.training.critic import read_features
from components.training.decision_values import _ridge, fit_decisions
from components.training.finish import finish_decisions, layers_of, read_drafts
from components.training.policy_gradient import decisions_backward
from components.training.settings import ReinforceSettings


def _roots(count: int, *, known: int = 1) -> tuple[torch.Tensor, list[dict[str, float]], list[str]]:
    """Roots whose first feature says whether answering is right; searching is always worth 0.6."""
    features = torch.randn(count, 24, generator=torch.Generator().manual_seed(count))
    right = features[:, 0] > 0
    values = [{ANSWER: float(one), "search": 0.6} for one in right]
    return features, values, [f"group-{i % (count // known)}" for i in range(count)]


def _rewarded(play: Trajectory, reward: float) -> Trajectory:
    return replace(play, transitions=(*play.transitions[:-1], replace(play.transitions[-1], reward=reward)))


def _answering(play: Trajectory, tokens: tuple[int, ...]) -> Trajectory:
    """`play`, with these tokens for its first turn where that was forced to be the answer."""
    if play.forced[0] != ANSWER:
        return play
    first = play.transitions[0]
    message = replace(first.action.message, token_ids=tokens)
    return replace(play, transitions=(replace(first, action=replace(first.action, message=message)),))


def test_the_closed_form_is_ridge_regression_on_standardised_features() -> None:
    features, target = torch.randn(40, 12), torch.randn(40, dtype=torch.float64)
    weight, bias = _ridge(features, target, 7.0)
    x = features.double().numpy()
    z = (x - x.mean(0)) / x.std(0)
    slow = Ridge(alpha=7.0).fit(z, target.numpy())
    assert np.allclose((features.double() @ weight + bias).numpy(), slow.predict(z), atol=1e-8)


def test_a_head_answers_what_the_state_shows_to_be_known_and_searches_the_rest() -> None:
    features, values, groups = _roots(400)
    fitted = fit_decisions(features, values, groups, temperature=0.1)
    fresh, told, _ = _roots(300)
    chosen = [fitted.head.names[int(row.argmax())] for row in fitted.head.values(fresh)]
    agree = [(name == ANSWER) == (value[ANSWER] > 0.6) for name, value in zip(chosen, told, strict=True)]
    assert sum(agree) / len(agree) > 0.85
    metrics = fitted.metrics
    assert metrics["decisions/value"] > metrics["decisions/value_of_search"] + 0.1
    assert metrics["decisions/value"] <= metrics["decisions/value_of_best"]
    assert 0.3 < metrics["decisions/call_rate"] < 0.8


def test_where_features_say_nothing_the_better_decision_is_taken_everywhere() -> None:
    features = torch.randn(200, 24, generator=torch.Generator().manual_seed(5))
    values = [{ANSWER: float(i % 3 == 0), "search": 0.6} for i in range(200)]
    fitted = fit_decisions(features, values, [str(i) for i in range(200)], temperature=0.1)
    assert fitted.metrics["decisions/call_rate"] > 0.95


def test_a_decision_that_was_tried_at_some_roots_only_is_learnt_from_those() -> None:
    features, values, groups = _roots(100)
    some = [value | {"python": -0.3} if i % 2 else value for i, value in enumerate(values)]
    head = fit_decisions(features, some, groups, temperature=0.1).head
    assert set(head.names) == {ANSWER, "search", "python"}
    assert head.values(features)[:, head.names.index("python")].mean().item() == pytest.approx(-0.3, abs=1e-4)


def test_nothing_to_learn_from_is_told() -> None:
    with pytest.raises(ValueError, match="none of 0 judged roots"):
        fit_decisions(torch.empty(0, 8), [], [], temperature=0.1)


def test_a_finished_model_gets_a_head_from_the_judged_plays_that_it_has_the_problems_of() -> None:
    model, problems = leaning_llama(), {p.problem_id: p for p in (make_problem(f"Number {n}?") for n in range(12))}
    plays = []
    for number, problem in enumerate(problems.values()):
        group = bandit({ANSWER: float(number % 2), "search": 0.5}, problem)
        plays += [_rewarded(play, reward) for play, reward in zip(group.trajectories, group.rewards, strict=True)]
    known = dict(list(problems.items())[:10])
    fitted = finish_decisions(model, plays, known, encoder(), temperature=0.1, tokens_per_pass=512)
    roots = [encoder().context(problem) for problem in known.values()]
    values = fitted.head.values(read_features(model, roots, tokens_per_pass=512))
    assert values.shape == (10, 2)
    assert values[:, fitted.head.names.index("search")].tolist() == pytest.approx([0.5] * 10, abs=1e-4)


def test_a_head_that_reads_drafts_is_fitted_to_the_answers_that_were_forced() -> None:
    model, problems = leaning_llama(), {p.problem_id: p for p in (make_problem(f"Number {n}?") for n in range(12))}
    plays, right = [], {}
    for number, (name, problem) in enumerate(problems.items()):
        right[name] = float(number % 3 == 0)
        group = bandit({ANSWER: right[name], "search": 0.5}, problem)
        plays += [_rewarded(play, reward) for play, reward in zip(group.trajectories, group.rewards, strict=True)]
    plays = [_answering(play, (11 + 7 * int(right[play.problem_id]), 9, 2)) for play in plays]
    plays = [play for play in plays if play.problem_id != plays[0].problem_id or play.forced[0] != ANSWER]
    fitted = finish_decisions(model, plays, problems, encoder(), temperature=0.1, drafts=True, tokens_per_pass=512)
    assert fitted.head.drafts
    known = list(problems.values())[1:]
    answers = [(11 + 7 * int(right[problem.problem_id]), 9, 2) for problem in known]
    contexts, layer = [encoder().context(p) for p in known], fitted.head.layer
    (features,) = read_drafts(model, contexts, answers, (layer,), tokens_per_pass=512)
    foreseen = fitted.head.values(features)[:, fitted.head.names.index(ANSWER)]
    good = torch.tensor([right[problem.problem_id] == 1.0 for problem in known])
    assert foreseen[good].min() > foreseen[~good].max()


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_drafts_are_read_as_if_each_was_alone(family: str) -> None:
    model = leaning_llama() if family == "llama" else tiny_other(family)
    contexts, drafts = [(5, 6, 7), (5, 6, 8, 9), (5,)], [(10, 11, 2), (12,), (13, 14, 15, 2)]
    assert layers_of(model) == (None, 1), "a model of two blocks has one short of the last"
    found = read_drafts(model, contexts, drafts, (None, 1), tokens_per_pass=8)
    for number, (context, draft) in enumerate(zip(contexts, drafts, strict=True)):
        ids = torch.tensor([context + draft[:-1]])
        with torch.no_grad():
            slow = model.base_model(ids, output_hidden_states=True).hidden_states
        for place, block in enumerate((-1, 1)):
            states = slow[block][0, len(context) - 1 :].float()
            assert len(states) == len(draft)
            assert torch.allclose(found[place, number], torch.cat([states.mean(0), states[-1]]), atol=1e-4)


def test_a_draft_is_read_after_the_block_that_foresees_best() -> None:
    """Only one block's states tell right answers from wrong ones: those of the others are noise."""
    draw = torch.Generator().manual_seed(4)
    right = torch.rand(120, generator=draw) < 0.5
    noise, telling = torch.randn(120, 6, generator=draw), torch.randn(120, 6, generator=draw)
    telling[:, 0] = right.float()
    values = [{ANSWER: float(one), "search": 0.5} for one in right]
    errors = {
        layer: fit_decisions(features, values, [str(i) for i in range(120)], temperature=0.1, layer=layer).error
        for layer, features in {None: noise, 3: telling}.items()
    }
    assert errors[3] < 0.02 < 0.1 < errors[None]


@pytest.mark.parametrize(("decisions", "moved"), [("weights", True), ("head", False), ("draft", False)])
def test_decisions_that_are_left_to_a_head_send_no_gradient_into_the_weights(decisions: str, moved: bool) -> None:
    model, problem = leaning_llama(), make_problem("Number 1?")
    settings = ReinforceSettings(decisions=decisions)
    told = decisions_backward(
        model, [encoder().context(problem)], [{ANSWER: 1.0, "search": 0.0, "python": 0.0}], settings, vocabulary()
    )
    gradients = [p.grad for p in model.parameters() if p.grad is not None and bool(p.grad.any())]
    assert bool(gradients) is moved
    assert told.loss > 0.0


@pytest.mark.parametrize("also", [{"form": "q_learning"}, {"price_conditioned": (0.0, 0.3)}])
@pytest.mark.parametrize("decisions", ["head", "draft"])
def test_a_decision_head_goes_with_no_other_head_and_with_one_price(decisions: str, also: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=f"decisions: {decisions} goes with form: policy_gradient and one price"):
        ReinforceSettings(decisions=decisions, **also)
