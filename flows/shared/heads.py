"""Heads beside a trained model. Takes a finished policy and the judged plays; writes the heads. Trains no policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from components.policy.decision_head import write_decisions
from components.policy.heads import read_q, write_q, write_values
from components.policy.policy import Policy
from components.schema.identity import child_seed
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from components.tools.prices import PriceSheet
from components.training.finish import finish_decisions, finish_values, refit_q
from components.training.inputs import Vocabulary
from components.training.material import Encoder
from flows.shared.stage import StageRun


def write_values_of(
    run: StageRun,
    policy: Policy,
    encoder: Encoder,
    problems: Mapping[str, Problem],
    trajectories: Sequence[Trajectory],
    folder: Path,
) -> None:
    """Value heads for `policy` in `folder`, where the parameters ask for them and plays were judged."""
    settings = run.params.reinforce
    if not settings.critic.values or not trajectories:
        return
    fitted = finish_values(
        policy.model,
        trajectories,
        problems,
        encoder,
        vocabulary_of(policy, problems),
        settings.critic,
        units=PriceSheet(run.params.prices).units,
        tokens_per_pass=settings.tokens_per_pass,
        seed=child_seed(run.seed, "values"),
    )
    write_values(folder, fitted.heads)
    run.log_metrics(fitted.metrics)


def write_decisions_of(
    run: StageRun,
    policy: Policy,
    encoder: Encoder,
    problems: Mapping[str, Problem],
    trajectories: Sequence[Trajectory],
    folder: Path,
) -> None:
    """A decision head for `policy` in `folder`, where the parameters leave decisions to one."""
    settings = run.params.reinforce
    if settings.decisions == "weights":
        return
    fitted = finish_decisions(
        policy.model,
        trajectories,
        problems,
        encoder,
        temperature=settings.decision_temperature,
        drafts=settings.decisions == "draft",
        tokens_per_pass=settings.tokens_per_pass,
    )
    write_decisions(folder, fitted.head)
    run.log_metrics(fitted.metrics)
    run.say("  ".join(f"{name} {figure:.3f}" for name, figure in fitted.metrics.items()))


def vocabulary_of(policy: Policy, problems: Mapping[str, Problem]) -> Vocabulary:
    """Tokens by which the policy opens a call of any tool that the problems offer."""
    names = dict.fromkeys(name for problem in problems.values() for name in problem.tool_names)
    return Vocabulary(policy.chat.call_opening, {name: policy.chat.encode(name) for name in names})


def write_q_of(
    run: StageRun,
    policy: Policy,
    encoder: Encoder,
    problems: Mapping[str, Problem],
    trajectories: Sequence[Trajectory],
    start: Path,
    folder: Path,
) -> None:
    """The Q head of the model in `start`, fitted to `policy`, in `folder`; nothing when that model has none."""
    settings = run.params.reinforce
    head = read_q(start, features=int(policy.model.config.hidden_size))
    if head is not None:
        limit = settings.tokens_per_pass
        write_q(
            folder,
            refit_q(policy.model, head, trajectories, problems, encoder, settings.critic, tokens_per_pass=limit),
        )
