"""Losses against the slow definition: full logits, one sequence and one token at a time."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch
from tiny_models import chat, leaning_llama, specs_of, tiny_llama

from components.policy.prefix_tree import passes
from components.training.examples import Example
from components.training.imitate import backward_imitation
from components.training.losses import decision_log_probs, denominators, imitation_losses
from components.training.optimiser import MasterAdamW, freeze_lower
from components.training.settings import CloneSettings

VOCABULARY = 97
CALL = 5


def _model() -> torch.nn.Module:
    return tiny_llama(4, layers=3, vocabulary=VOCABULARY, spread=0.2)


def _examples(seed: int = 0, count: int = 6) -> list[Example]:
    """Sequences with a call [8, 11), arguments [12, 15), and an answer [18, 22) whose first token is not a call."""
    draw = random.Random(seed)
    examples = []
    for number in range(count):
        ids = [draw.randrange(VOCABULARY) for _ in range(22 + draw.randrange(9))]
        ids[8], ids[18] = CALL, 6
        examples.append(
            Example(
                ids=tuple(ids),
                calls=((8, 11),) if number % 3 else (),
                stays=(18,) if number % 2 else (),
                arguments=(12, 13, 14) if number % 4 else (),
                answers=(18, 19, 20, 21),
                firsts=(18,),
                weight=draw.uniform(-1, 1),
            )
        )
    return examples


def _slow(model: torch.nn.Module, examples: list[Example]) -> tuple[float, float, float]:
    """(decision, argument, answer), each an average over all its targets."""
    decision, argument, answer = [], [], []
    for example in examples:
        probs = model(torch.tensor([example.ids])).logits[0].double().softmax(-1)

        def log_p(place: int, probs: torch.Tensor = probs, ids: tuple[int, ...] = example.ids) -> float:
            return math.log(float(probs[place - 1, ids[place]]))

        for start, stop in example.calls:
            decision.append(-sum(log_p(p) for p in range(start, stop)))
        for p in example.stays:
            decision.append(-math.log(1 - float(probs[p - 1, CALL])))
        argument += [-example.weight * log_p(p) for p in example.arguments]
        for p in example.answers:
            given_no_call = math.log(1 - float(probs[p - 1, CALL])) if p in example.firsts else 0.0
            answer.append(-(log_p(p) - given_no_call))
    return tuple(sum(values) / max(1, len(values)) for values in (decision, argument, answer))  # type: ignore[return-value]


def _gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("seed", range(4))
@torch.no_grad()
def test_imitation_losses_are_the_slow_average_over_marked_tokens(seed: int) -> None:
    model, examples = _model(), _examples(seed)
    losses = imitation_losses(model, examples, denominators(examples), call_token=CALL)
    got = tuple(map(float, (losses.decision, losses.argument, losses.answer)))
    assert got == pytest.approx(_slow(model, examples), abs=1e-4)


@torch.no_grad()
def test_a_step_in_several_passes_has_the_losses_of_one_pass() -> None:
    model, examples = _model(), _examples()
    counts = denominators(examples)
    whole = imitation_losses(model, examples, counts, call_token=CALL)
    parts = [imitation_losses(model, [example], counts, call_token=CALL) for example in examples]
    for name in ("decision", "argument", "answer"):
        assert float(sum(getattr(part, name) for part in parts)) == pytest.approx(float(getattr(whole, name)), abs=1e-4)


def test_how_a_step_is_cut_into_passes_does_not_change_its_gradient() -> None:
    gradients = []
    for tokens in (64, 4096):
        model = _model()
        freeze_lower(model, 2)
        backward_imitation(model, _examples(), CloneSettings(tokens_per_pass=tokens), call_token=CALL)
        gradients.append(_gradients(model))
    assert len(passes([e.ids for e in _examples()], limit=64)) >= 3
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-5), name


@torch.no_grad()
def test_weights_multiply_argument_tokens_only() -> None:
    model, examples = _model(), _examples()
    counts = denominators(examples)
    one = imitation_losses(model, examples, counts, call_token=CALL)
    doubled = [replace(example, weight=2 * example.weight) for example in examples]
    two = imitation_losses(model, doubled, counts, call_token=CALL)
    assert float(two.argument) == pytest.approx(2 * float(one.argument), rel=1e-5)
    assert (float(two.decision), float(two.answer)) == (float(one.decision), float(one.answer))


def test_frozen_layers_get_no_gradient_and_never_move() -> None:
    model = _model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert freeze_lower(model, 1) == (2,)
    optimiser = MasterAdamW(model, learning_rate=1e-2, warmup_steps=0, total_steps=3, max_grad_norm=1.0)
    backward_imitation(model, _examples(), CloneSettings(), call_token=CALL)
    learnt = set(_gradients(model))
    assert learnt
    assert all("layers.2." in name or name == "model.norm.weight" for name in learnt)
    optimiser.step()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in learnt), name


def test_examples_with_nothing_to_learn_have_zero_loss_and_can_still_be_differentiated() -> None:
    model = _model()
    losses = imitation_losses(model, [Example(ids=(1, 2, 3))], denominators([]), call_token=CALL)
    whole = losses.decision + losses.argument + losses.answer
    whole.backward()
    assert (float(whole.detach()), losses.answer_logits) == (0.0, None)


@torch.no_grad()
def test_decision_log_probs_are_the_slow_enumeration() -> None:
    model, names = leaning_llama(), ("search", "python")
    contexts = [chat().prompt_ids(prompt, specs_of(names)) for prompt in ("Why?", "What is the capital of Chad?")]
    opening, tools = chat().call_opening, [chat().encode(name) for name in names]
    assert all(len(tool) == 1 for tool in tools)
    got = decision_log_probs(model, contexts, opening, tools)
    for row, context in enumerate(contexts):
        slow = []
        for tool in tools:
            ids = (*context, *opening, *tool)
            logprobs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
            slow.append(float(sum(logprobs[p - 1, ids[p]] for p in range(len(context), len(ids)))))
        slow.insert(0, math.log(1 - sum(map(math.exp, slow))))
        assert got[row].tolist() == pytest.approx(slow, abs=1e-3)


@torch.no_grad()
def test_what_a_stay_is_paid_is_a_lower_bound_of_its_probability_to_answer() -> None:
    model = leaning_llama()
    for prompt in ("Why?", "2+2?", "What is the capital of Chad?"):
        context = chat().prompt_ids(prompt, specs_of(["search", "python"]))
        names = [chat().encode(name) for name in ("search", "python")]
        exact = float(decision_log_probs(model, [context], chat().call_opening, names)[0, 0])
        stay = Example(ids=(*context, 6), stays=(len(context),), firsts=(len(context),))
        bound = -float(
            imitation_losses(model, [stay], denominators([stay]), call_token=chat().call_opening[0]).decision
        )
        assert bound <= exact + 1e-4
        assert exact - bound < 2.0, "the bound is of use"


@torch.no_grad()
def test_names_of_several_tokens_that_begin_alike_are_told_apart() -> None:
    model, context, names = _model(), (1, 2), [(7, 8), (7, 9), (3,)]
    got = decision_log_probs(model, [context], (CALL,), names)[0]
    for name, value in zip(names, got[1:].tolist(), strict=True):
        ids = (*context, CALL, *name)
        logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        assert value == pytest.approx(float(sum(logprobs[p - 1, ids[p]] for p in range(2, len(ids)))), abs=1e-4)
    assert float(got.exp().sum()) == pytest.approx(1.0, abs=1e-5)
