"""The composite gradient, exactly (DESIGN 1, row 4).

    d/dtheta E_a[log p(y* | s, a, r)] = E_a[grad log p(y* | s, a, r)] + E_a[log p(y* | s, a, r) grad log pi(a | s)]

A model whose vocabulary has a dozen tokens: the actions are to answer, or one of two tools with any one token as its
argument, so that the expectation is a sum over 25 actions. That sum, written plainly in float64, is differentiated by
central differences; the other side is made by the trainer's own losses, in their float32.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from tiny_models import tiny_llama

from components.schema.trajectory import ANSWER
from components.training.advantage import leave_one_out, standardised
from components.training.examples import Example
from components.training.inputs import Material, Vocabulary
from components.training.losses import decision_log_probs, denominators, imitation_losses
from components.training.policy_gradient import NORMAL_ARGUMENTS
from components.training.reinforce import backward
from components.training.settings import ReinforceSettings

VOCABULARY, CALL = 12, 3
NAMES = {"search": (4,), "python": (5,)}
PROMPT, REFERENCE = (1, 7, 2), (8, 9)
WORDS = Vocabulary((CALL,), NAMES)
STEP = 1e-5


@dataclass(frozen=True)
class Act:
    """One action of the enumeration, and the context in which the reference is then read."""

    decision: str
    argument: int | None = None

    @property
    def turn(self) -> tuple[int, ...]:
        return () if self.argument is None else (CALL, *NAMES[self.decision], self.argument)

    @property
    def context(self) -> tuple[int, ...]:
        """The tool echoes its argument, changed a little: every action has another response."""
        response = () if self.argument is None else (6, (self.argument * 5 + len(self.decision)) % VOCABULARY, 2)
        return (*PROMPT, *self.turn, *response)

    def answered(self) -> Example:
        start = len(self.context)
        places = tuple(range(start, start + len(REFERENCE)))
        return Example(ids=(*self.context, *REFERENCE), answers=places, firsts=places[:1])

    def argued(self, weight: float) -> Example:
        ids = (*PROMPT, *self.turn)
        return Example(ids=ids, arguments=(len(ids) - 1,), weight=weight)


ACTS = (Act(ANSWER), *(Act(name, argument) for name in NAMES for argument in range(VOCABULARY)))


def _model() -> Any:
    return copy.deepcopy(_leaning())


@cache
def _leaning() -> Any:
    """Random but for the head, which makes calls as likely as answers."""
    model = tiny_llama(3, vocabulary=VOCABULARY, spread=0.3, positions=64)
    habits = [(PROMPT, CALL, 3.0), *(((*PROMPT, CALL), *name, 3.0) for name in NAMES.values())]
    with torch.no_grad():
        model.lm_head.weight.mul_(0.3)
        for context, token, logit in habits:
            state = model.model(torch.tensor([context])).last_hidden_state[0, -1]
            model.lm_head.weight[token] += logit * state / (state @ state)
    return model


# --- the definition in float64 ----------------------------------------------------------------------------------------


def _double() -> Any:
    """The same weights in float64 throughout; the library's norm and eager attention would compute in float32."""
    model = _model().double()
    model.set_attn_implementation("sdpa")
    for layer in model.model.layers:
        layer.input_layernorm = _exact(layer.input_layernorm)
        layer.post_attention_layernorm = _exact(layer.post_attention_layernorm)
    model.model.norm = _exact(model.model.norm)
    return model


def _exact(norm: Any) -> torch.nn.Module:
    exact = torch.nn.RMSNorm(norm.weight.shape[0], eps=norm.variance_epsilon, dtype=torch.float64)
    exact.weight = norm.weight
    return exact


def _slow_logprobs(model: Any, sequences: list[tuple[int, ...]], start: int, *, no_call: bool = False) -> list[float]:
    """log p of what follows `start` in sequences of one length; `no_call`: its first token given that no call opens."""
    ids = torch.tensor(sequences)
    logits = model(ids).logits[:, start - 1 : -1].clone()
    if no_call:
        logits[:, 0, CALL] = -torch.inf
    each: list[float] = logits.log_softmax(-1).gather(2, ids[:, start:, None]).sum((1, 2)).tolist()
    return each


def _slow_actions(model: Any) -> dict[Act, tuple[float, float]]:
    """(pi(a | s), log p(y* | s, a, r)) of every action."""
    direct, *calls = ACTS
    chances = [math.exp(lp) for lp in _slow_logprobs(model, [(*PROMPT, *act.turn) for act in calls], len(PROMPT))]
    openings = _slow_logprobs(model, [(*PROMPT, CALL, *name) for name in NAMES.values()], len(PROMPT))
    told = [(*act.context, *REFERENCE) for act in calls]
    (alone,) = _slow_logprobs(model, [(*PROMPT, *REFERENCE)], len(PROMPT), no_call=True)
    after = _slow_logprobs(model, told, len(calls[0].context), no_call=True)
    return {
        direct: (1.0 - sum(map(math.exp, openings)), alone),
        **dict(zip(calls, zip(chances, after, strict=True), strict=True)),
    }


@torch.no_grad()
def _objective(model: Any) -> float:
    """J = sum_a pi(a | s) log p(y* | s, a, r(a))."""
    return sum(chance * quality for chance, quality in _slow_actions(model).values())


@cache
def _enumerated() -> dict[Act, tuple[float, float]]:
    """Every action at the model's weights."""
    with torch.no_grad():
        return _slow_actions(_double())


Direction = dict[str, torch.Tensor]


def _directions(count: int = 3) -> list[Direction]:
    """Random directions of length 1 in the space of all weights."""
    draw, drawn = torch.Generator().manual_seed(0), []
    for _ in range(count):
        one = {
            name: torch.randn(p.shape, generator=draw, dtype=torch.float64) for name, p in _model().named_parameters()
        }
        length = torch.sqrt(sum((v**2).sum() for v in one.values()))  # type: ignore[arg-type]
        drawn.append({name: value / length for name, value in one.items()})
    return drawn


def _difference(function: Callable[[Any], float], direction: Direction) -> float:
    """The slope of `function` along the direction, by central differences."""
    values = []
    for sign in (1.0, -1.0):
        model = _double()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.add_(sign * STEP * direction[name])
        values.append(function(model))
    return (values[0] - values[1]) / (2 * STEP)


# --- the trainer's losses ---------------------------------------------------------------------------------------------


def _gradient(accumulate: Callable[[Any], None]) -> Direction:
    model = _model()
    accumulate(model)
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in model.named_parameters()}


def _along(gradient: Direction, direction: Direction) -> float:
    return float(sum((gradient[name].double() * direction[name]).sum() for name in direction))


def _step(
    model: Any, *, arguments: tuple[Example, ...] = (), references: tuple[Example, ...] = (), **weights: float
) -> None:
    """The trainer's own backward pass, without decisions."""
    settings = ReinforceSettings.model_validate(weights)
    backward(model, Material((), arguments, references, ()), {}, settings, WORDS, judging=False)


def _through_answers(model: Any) -> None:
    """-E_a[log p(y* | s, a, r)], the actions held."""
    for act, (chance, _) in _enumerated().items():
        _step(model, references=(act.answered(),), reference_weight=chance * len(REFERENCE))


def _through_arguments(model: Any) -> None:
    """-E_a[Q(a) log pi(x | d, s)], Q held: policy gradient with Q in place of the sampled advantage."""
    argued = tuple(act.argued(chance * q) for act, (chance, q) in _enumerated().items() if act.turn)
    _step(model, arguments=argued, argument_weight=len(argued) * NORMAL_ARGUMENTS)


def _through_decisions(model: Any) -> None:
    """-sum_d pi(d) Q(d) log pi(d | s), pi(d) and Q(d) held: all actions."""
    worth = dict.fromkeys((ANSWER, *NAMES), 0.0)
    for act, (chance, q) in _enumerated().items():
        worth[act.decision] += chance * q
    logprobs = decision_log_probs(model, [PROMPT], (CALL,), list(NAMES.values()))[0]
    (-(torch.tensor([worth[name] for name in (ANSWER, *NAMES)]) * logprobs).sum()).backward()


PARTS = {"answers": _through_answers, "arguments": _through_arguments, "decisions": _through_decisions}


def test_the_policy_of_the_enumeration_is_a_distribution() -> None:
    assert len(ACTS) == 25
    assert sum(chance for chance, _ in _enumerated().values()) == pytest.approx(1.0, abs=1e-9)
    assert min(chance for chance, _ in _enumerated().values()) > 5e-4


def test_the_gradient_through_answers_arguments_and_decisions_is_the_composite_gradient() -> None:
    gradients = {name: _gradient(part) for name, part in PARTS.items()}
    slopes = []
    for direction in _directions():
        exact = _difference(_objective, direction)
        parts = {name: -_along(gradient, direction) for name, gradient in gradients.items()}
        assert sum(parts.values()) == pytest.approx(exact, abs=2e-6)
        slopes.append(parts)
    for name in PARTS:
        assert max(abs(parts[name]) for parts in slopes) > 1e-3, f"{name}: too small for its absence to be seen"


def test_sampling_with_leave_one_out_is_unbiased_and_with_group_std_is_not() -> None:
    """All 3-tuples of a tool's arguments, each with its probability: the mean estimate is the exact policy gradient.

    Arguments are drawn given the tool, as siblings are; rewards are the log-likelihoods of the reference.
    """
    direction, tool, siblings = _directions(1)[0], "search", 3
    acts = [act for act in ACTS if act.decision == tool]
    whole = sum(_enumerated()[act][0] for act in acts)
    chances = [_enumerated()[act][0] / whole for act in acts]
    rewards = [_enumerated()[act][1] for act in acts]
    scores = [
        -_along(
            _gradient(lambda m, act=act: _step(m, arguments=(act.argued(1.0),), argument_weight=NORMAL_ARGUMENTS)),
            direction,
        )
        for act in acts
    ]
    exact = sum(p * r * s for p, r, s in zip(chances, rewards, scores, strict=True))
    estimates = {"leave one out": 0.0, "group std": 0.0}
    for drawn in itertools.product(range(len(acts)), repeat=siblings):
        chance = math.prod(chances[i] for i in drawn)
        for name, compare in (("leave one out", leave_one_out), ("group std", standardised)):
            weights = compare([rewards[i] for i in drawn])
            estimates[name] += chance * sum(w * scores[i] for w, i in zip(weights, drawn, strict=True)) / siblings
    assert estimates["leave one out"] == pytest.approx(exact, abs=1e-6)
    assert abs(estimates["group std"] - exact) > 0.05 * abs(exact)


def test_the_score_of_an_argument_has_mean_zero_so_that_a_baseline_costs_nothing() -> None:
    direction = _directions(1)[0]
    acts = [act for act in ACTS if act.decision == "search"]
    chances = [_enumerated()[act][0] for act in acts]
    argued = tuple(act.argued(chance / sum(chances)) for act, chance in zip(acts, chances, strict=True))
    gradient = _gradient(lambda m: _step(m, arguments=argued, argument_weight=len(argued) * NORMAL_ARGUMENTS))
    assert _along(gradient, direction) == pytest.approx(0.0, abs=1e-6)


def test_the_losses_are_the_definition_in_value_too() -> None:
    model = _model()
    with torch.no_grad():
        for act, (_, quality) in list(_enumerated().items())[::6]:
            loss = imitation_losses(model, [act.answered()], denominators([act.answered()]), call_token=CALL).answer
            assert -len(REFERENCE) * float(loss) == pytest.approx(quality, abs=1e-4)
