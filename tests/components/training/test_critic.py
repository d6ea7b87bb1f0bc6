"""Critics against truths that can be worked out: an MDP of three states, actions never tried, a kill in between."""

from __future__ import annotations

import pytest
import torch
from tiny_models import leaning_llama

from components.training.critic import Critic, features_backward, last_states, read_features
from components.training.q_learning import Candidates, QLearning, conservative
from components.training.settings import CriticSettings, ReinforceSettings

TURNS = ("A stay", "B stay", "C stay", "A leave", "B leave", "C leave")
FEATURES = torch.eye(len(TURNS))
EPISODES = (
    (("A stay", -0.1), ("B stay", -0.1), ("C stay", 1.0)),
    (("A leave", 0.2),),
    (("B leave", 0.0),),
    (("C leave", -0.3),),
)
"""A -> B -> C by staying, each step at a price; leaving ends at once. Always staying is the policy."""
TRUTH = {"A stay": 0.8, "B stay": 0.9, "C stay": 1.0, "A leave": 0.2, "B leave": 0.0, "C leave": -0.3}
QUICK = CriticSettings(hidden=16, learning_rate=3e-2, updates=250, polyak=0.1)


def _rows() -> tuple[torch.Tensor, list[tuple[float, ...]]]:
    names = [name for episode in EPISODES for name, _ in episode]
    return FEATURES[[TURNS.index(name) for name in names]], [tuple(r for _, r in episode) for episode in EPISODES]


@pytest.mark.parametrize("trace", [0.0, 0.9])
def test_twin_critics_find_the_true_values_of_a_three_state_mdp(trace: float) -> None:
    critic = Critic(len(TURNS), QUICK.model_copy(update={"trace": trace}), twins=True, seed=0)
    critic.fit(*_rows())
    found = dict(zip(TURNS, critic.values(FEATURES).tolist(), strict=True))
    assert found == pytest.approx(TRUTH, abs=0.05)


def test_what_follows_is_worth_the_lesser_of_the_target_twins() -> None:
    critic = Critic(len(TURNS), QUICK.model_copy(update={"trace": 0.0}), twins=True, seed=0)
    with torch.no_grad():
        for head, bias in zip(critic.targets, (2.0, -1.0), strict=True):
            head.head.outer.bias.fill_(bias)  # type: ignore[union-attr]
    low, high = QUICK.low, QUICK.high
    lesser = low + (high - low) * float(torch.sigmoid(torch.tensor(-1.0)))
    features, chains = _rows()
    assert critic.returns(features, chains)[:3].tolist() == pytest.approx([-0.1 + lesser, -0.1 + lesser, 1.0])


def test_values_never_leave_the_bounds_whatever_the_rewards() -> None:
    critic = Critic(len(TURNS), QUICK, twins=False, seed=0)
    critic.fit(FEATURES[:2], [(50.0,), (-50.0,)])
    values = critic.values(FEATURES)
    assert float(values.min()) > QUICK.low
    assert float(values.max()) < QUICK.high
    assert float(values[0]) > 1.2 > -0.6 > float(values[1])


def test_targets_follow_the_heads_slowly() -> None:
    critic = Critic(len(TURNS), QUICK.model_copy(update={"polyak": 0.25, "updates": 1}), twins=False, seed=0)
    before = critic.tensors()["target/0.head.outer.bias"].clone()
    critic.fit(*_rows())
    after = critic.tensors()
    assert after["target/0.head.outer.bias"] == pytest.approx(
        0.75 * float(before) + 0.25 * float(after["head/0.head.outer.bias"])
    )


def test_the_conservative_term_is_log_sum_exp_less_the_mean_of_what_was_tried() -> None:
    values = torch.tensor([0.5, 0.1, 0.9])
    (one,) = ([Candidates((0, 1), (2,))],)
    slow = float(torch.log(torch.exp(values).sum())) - 0.3
    assert float(conservative(values, one)) == pytest.approx(slow)


def test_actions_that_were_never_tried_are_lowered() -> None:
    found = {}
    for weight in (0.0, 0.5):
        settings = ReinforceSettings(critic=QUICK.model_copy(update={"conservative": weight, "updates": 200}))
        form = QLearning(len(TURNS), settings, seed=0)
        form.learn(FEATURES[:3], [(0.5,), (0.6,)], [Candidates((0, 1), (2,))])
        found[weight] = form.critic.values(FEATURES[:3]).tolist()
    assert found[0.5][2] < min(found[0.5][:2]) - 0.3
    assert found[0.5][2] < found[0.0][2] - 0.3


def test_a_critic_goes_on_from_its_tensors_exactly() -> None:
    settings = QUICK.model_copy(update={"updates": 3})
    straight, stopped, resumed = (Critic(len(TURNS), settings, twins=True, seed=s) for s in (0, 0, 7))
    for _ in range(2):
        straight.fit(*_rows())
    stopped.fit(*_rows())
    resumed.load({name: tensor.clone() for name, tensor in stopped.tensors().items()})
    resumed.fit(*_rows())
    expected, found = straight.tensors(), resumed.tensors()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_gradient_through_features_is_that_of_one_pass_over_everything() -> None:
    sequences = [(5, 6, 7, 8), (5, 6, 9), (11, 12, 13)]
    gradients = []
    for cached in (False, True):
        model = leaning_llama()
        if cached:
            leaf = read_features(model, sequences, tokens_per_pass=64).requires_grad_()
            (gradient,) = torch.autograd.grad(_loss(leaf), [leaf])
            features_backward(model, sequences, gradient, tokens_per_pass=3)
        else:
            _loss(last_states(model, sequences)).backward()  # type: ignore[no-untyped-call]
        gradients.append(model.model.layers[0].mlp.up_proj.weight.grad.clone())
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-4)


def _loss(features: torch.Tensor) -> torch.Tensor:
    """Compares every sequence with every other."""
    return torch.cdist(features, features).square().sum()
