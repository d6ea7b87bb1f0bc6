"""One loop, three forms: each raises the reward of a toy, each resumes to the same bits, and mu(s) is what it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from doubles import make_problem
from tiny_models import chat, encoder, leaning_llama, tiny_policy
from toy_groups import TOOLS, bandit, material_of, siblings, vocabulary

from components.policy.heads import read_q, score_actions
from components.schema.group import Group
from components.schema.trajectory import ANSWER
from components.training.actor_critic import ActorCritic
from components.training.contrasts import judged_contrasts
from components.training.forms import make_form
from components.training.inputs import Material
from components.training.losses import decision_log_probs
from components.training.policy_gradient import PolicyGradient
from components.training.preference import with_clone
from components.training.q_learning import QLearning, borrowed, candidates
from components.training.reinforce import reinforce
from components.training.returns import returns_of
from components.training.settings import CriticSettings, ReinforceSettings

FORMS = ("policy_gradient", "actor_critic", "q_learning")
SETTINGS = ReinforceSettings(
    learning_rate=3e-3,
    steps=6,
    warmup_steps=0,
    trained_layers=2,
    decision_weight=1.0,
    argument_weight=1.0,
    decision_start=0.0,
    references=0,
    critic=CriticSettings(hidden=16, learning_rate=2e-2, updates=20),
)


class _Exact:
    """A critic that knows: Q of every turn is what came after it."""

    def fit(self, features: torch.Tensor, chains: Sequence[Sequence[float]]) -> float:
        self._known = returns_of(chains, [0.0] * len(features), trace=1.0)
        return 0.0

    def values(self, features: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self._known)


def _settings(form: str, **changes: Any) -> ReinforceSettings:
    return SETTINGS.model_copy(update={"form": form, **changes})


def _gradients(form: Any, material: Material, *, judging: bool) -> dict[str, torch.Tensor]:
    model = leaning_llama()
    form.backward(model, material, judging=judging)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("judging", [False, True])
def test_with_an_exact_critic_the_actor_follows_the_policy_gradient(judging: bool) -> None:
    rewards = {ANSWER: 0.1, "search": 0.6, "python": 0.2}
    group = bandit(rewards) if judging else siblings({"capital Chad": 1.0, "river Mali": 0.25, "x": 0.5})
    settings = _settings("actor_critic")
    actor = ActorCritic(64, settings, vocabulary(), seed=0)
    actor.critic = _Exact()  # type: ignore[assignment]
    material = material_of([group], settings)
    expected = _gradients(PolicyGradient(settings, vocabulary()), material, judging=judging)
    found = _gradients(actor, material, judging=judging)
    assert expected.keys() == found.keys()
    assert all(torch.allclose(expected[name], found[name], atol=1e-6) for name in expected)


def _reinforce(model: Any, groups: list[Group], settings: ReinforceSettings) -> tuple[Any, list[dict[str, float]]]:
    form = make_form(model, settings, vocabulary(), seed=0)
    told: list[dict[str, float]] = []
    reinforce(
        model,
        lambda step: material_of(groups, settings),
        {},
        settings,
        vocabulary(),
        form=form,
        refresh=lambda layers: None,
        report=lambda step, metrics: told.append(dict(metrics)),
    )
    return form, told


@torch.no_grad()
def _expected_reward(model: Any, group: Group) -> float:
    """Sum over decisions of P(d) times its reward."""
    names = [chat().encode(name) for name in TOOLS]
    logprobs = decision_log_probs(model, [group.context_ids], chat().call_opening, names)[0]
    return sum(p * r for p, r in zip(logprobs.exp().tolist(), group.rewards, strict=True))


@pytest.mark.parametrize("form", ["policy_gradient", "actor_critic"])
def test_forms_that_act_by_the_model_raise_its_expected_reward(form: str) -> None:
    group, model = bandit({ANSWER: 0.0, "search": 1.0, "python": 0.1}), leaning_llama()
    before = _expected_reward(model, group)
    _, told = _reinforce(model, [group], _settings(form))
    assert _expected_reward(model, group) > before + 0.1
    assert ("loss/critic" in told[-1]) == (form == "actor_critic")


def test_acting_by_the_argmax_of_q_picks_the_best_candidate_at_each_problem(tmp_path: Path) -> None:
    other = make_problem("What is 2 + 2?", "4", family="compute")
    groups = [
        bandit({ANSWER: 0.0, "search": 1.0, "python": 0.1}),
        bandit({ANSWER: 0.9, "search": 0.2, "python": 0.0}, other),
    ]
    model = leaning_llama()
    form, told = _reinforce(model, groups, _settings("q_learning", steps=8))
    form.export(tmp_path)
    head = read_q(tmp_path, features=64)
    assert head is not None
    for group in groups:
        episodes = [encoder().episode(t, group.problem, 0.0) for t in group.trajectories]
        values = score_actions(tiny_policy(model), head, [episode.actions()[0] for episode in episodes])
        assert values.index(max(values)) == group.rewards.index(max(group.rewards))
    assert told[-1]["loss/critic"] < told[0]["loss/critic"]


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_q_learning_teaches_the_features_only_where_it_is_asked_to(weight: float) -> None:
    settings = _settings("q_learning", critic=SETTINGS.critic.model_copy(update={"trunk_weight": weight}))
    material = material_of([bandit({ANSWER: 0.0, "search": 1.0})], settings)
    assert bool(_gradients(QLearning(64, settings, seed=0), material, judging=True)) == bool(weight)


def test_the_borrowed_action_is_one_that_nobody_tried_at_the_state() -> None:
    other = make_problem("What is 2 + 2?", "4", family="compute")
    groups = [siblings({"capital Chad": 1.0, "x": 0.0}), siblings({"2 + 2": 1.0, "four": 0.0}, other)]
    episodes = material_of(groups, _settings("q_learning")).episodes
    first, second = borrowed(episodes)
    assert first == (*episodes[0][0].states[0], *episodes[1][0].turns[0])
    assert second == (*episodes[1][0].states[0], *episodes[0][1].turns[0])
    rows = candidates(episodes, [first, second], first=8)
    assert [(c.tried, c.untried) for c in rows] == [((0, 2), (8,)), ((4, 6), (9,))]
    assert borrowed(episodes[:1]) == [None]


def test_rewards_of_turns_add_up_to_that_of_the_trajectory() -> None:
    (episode,) = material_of([siblings({"capital Chad": 0.75})], _settings("actor_critic")).episodes[0]
    assert episode.rewards == (0.0, 0.75)
    assert [len(s) for s in episode.states] == sorted(len(s) for s in episode.states)
    assert episode.states[1][: len(episode.actions()[0])] == episode.actions()[0]


def test_the_policy_gradient_is_given_no_episodes() -> None:
    assert material_of([bandit({ANSWER: 0.0, "search": 1.0})], _settings("policy_gradient")).episodes == ()


@pytest.mark.parametrize("form", FORMS)
def test_a_killed_run_of_every_form_resumes_to_the_same_bits(form: str, tmp_path: Path) -> None:
    settings = _settings(form, steps=4, checkpoint_every=1, preference_weight=0.3)

    def run(model: Any, *, until: int | None = None, checkpoint: Path | None = None) -> Any:
        groups = [bandit({ANSWER: 0.1, "search": 0.5, "python": 0.0}), siblings({"capital Chad": 1.0, "x": 0.0})]
        contrasts = judged_contrasts(groups[:1], encoder(), settings)
        pairs = with_clone(model, contrasts, call_token=chat().call_opening[0], tokens_per_pass=512)

        def material(step: int) -> Material:
            if step == until:
                raise KeyboardInterrupt
            made = material_of(groups[step % 2 :], settings)
            return Material(made.groups, made.arguments, (), (), made.episodes, pairs)

        learnt = make_form(model, settings, vocabulary(), seed=3)
        reinforce(
            model,
            material,
            {},
            settings,
            vocabulary(),
            form=learnt,
            refresh=lambda layers: None,
            checkpoint=checkpoint,
        )
        return learnt

    straight, resumed = leaning_llama(), leaning_llama()
    expected = run(straight).tensors()
    with pytest.raises(KeyboardInterrupt):
        run(leaning_llama(), until=2, checkpoint=tmp_path / "checkpoint")
    found = run(resumed, checkpoint=tmp_path / "checkpoint").tensors()
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
