"""Sampling: a token is where the cumulative probability passes the uniform number, and its log-probability is exact."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.policy.sampling import sample

pytestmark = pytest.mark.usefixtures("loops")


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from([5, 128, 300, 1000]), st.sampled_from([1.0, 0.7, 2.0]))
def test_a_token_is_where_the_cumulative_probability_passes_the_uniform_number(
    seed: int, vocabulary: int, heat: float
) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(8, vocabulary, generator=draw) * 3
    logits[:, ::3] = -torch.inf
    uniform = torch.rand(8, generator=draw)
    drawn = sample(logits, temperatures=torch.full((8,), heat), uniform=uniform)
    running = (logits.double() / heat).softmax(-1).cumsum(-1)
    for row, token in enumerate(drawn.tokens.tolist()):
        before = float(running[row, token - 1]) if token else 0.0
        assert before - 1e-5 <= float(uniform[row]) <= float(running[row, token]) + 1e-5
        assert torch.isfinite(logits[row, token]), "a token of weight zero is never drawn"


def test_temperature_zero_takes_the_likeliest_token_whatever_the_others_in_the_batch_do() -> None:
    logits = torch.randn(3, 500, generator=torch.Generator().manual_seed(1))
    drawn = sample(logits, temperatures=torch.tensor([0.0, 1.0, 0.0]), uniform=torch.full((3,), 0.5))
    assert drawn.tokens[[0, 2]].tolist() == logits[[0, 2]].argmax(-1).tolist()


@pytest.mark.parametrize("heat", [0.0, 1.0, 0.3])
def test_log_probabilities_are_those_at_temperature_one(heat: float) -> None:
    logits = torch.randn(4, 700, generator=torch.Generator().manual_seed(2)) * 4
    drawn = sample(logits, temperatures=torch.full((4,), heat), uniform=torch.tensor([0.0, 0.3, 0.9, 0.999999]))
    exact = logits.log_softmax(-1).gather(1, drawn.tokens[:, None]).squeeze(1)
    assert torch.allclose(drawn.logprobs, exact, atol=1e-5)


def test_the_ends_of_the_unit_interval_draw_tokens_that_can_be_drawn() -> None:
    logits = torch.full((2, 400), -torch.inf)
    logits[:, 7], logits[:, 390] = 0.0, -1.0
    last = torch.nextafter(torch.tensor(1.0), torch.tensor(0.0))
    drawn = sample(logits, temperatures=torch.ones(2), uniform=torch.stack([torch.tensor(0.0), last]))
    assert drawn.tokens.tolist() == [7, 390]


def test_frequencies_follow_probabilities() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -torch.inf]]).expand(20_000, -1)
    uniform = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    drawn = sample(logits, temperatures=torch.ones(20_000), uniform=uniform)
    shares = torch.bincount(drawn.tokens, minlength=4) / 20_000
    assert torch.allclose(shares, logits[0].softmax(-1), atol=0.015)
