"""Settings of the trainers. Takes sections clone, reinforce and distil of params.yaml; gives frozen settings."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Normaliser = Literal["none", "group_std"]


class TrainerSettings(BaseModel):
    """What every trainer needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(gt=0, le=1)
    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    """Examples a step."""
    trained_layers: int = Field(default=15, ge=1)
    """Upper blocks that learn; the rest and the embedding stay frozen (halves the step; science.md)."""
    lora_rank: int = Field(default=0, ge=0)
    """Rank of LoRA adapters on the linears of these blocks, which then learn in place of the blocks; 0: no adapters."""
    warmup_steps: int = Field(default=4, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    tokens_per_pass: int = Field(default=2048, ge=64)
    """Padded tokens of one forward-backward pass; bounds memory."""
    gradient_checkpointing: bool = False
    """Keep no block's inner results for the gradient but compute them again: less memory, about a third more time."""
    checkpoint_every: int = Field(default=10, ge=1)
    """Steps between checkpoints."""
    decision_weight: float = Field(default=1.0, ge=0)
    argument_weight: float = Field(default=1.0, ge=0)
    answer_weight: float = Field(default=1.0, ge=0)


class CloneSettings(TrainerSettings):
    """Behaviour cloning."""

    learning_rate: float = Field(default=2e-4, gt=0, le=1)
    steps: int = Field(default=28, ge=1)
    batch: int = Field(default=12, ge=1)
    direct_batch: int = Field(default=7, ge=0)
    """Examples a step of the base model's own direct answers (self-distillation of the direct branch)."""
    direct_answers: Literal["all", "right"] = "all"
    """Which of them: all, so that the model stays what it was, or those that pass the checker (rejection sampling), so
    that it answers as it does where it knows."""


class CriticSettings(BaseModel):
    """Heads that learn what states and actions are worth, and how they are trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = Field(default=128, ge=1)
    """Width of a head's hidden layer."""
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    updates: int = Field(default=8, ge=1)
    """Updates of the heads a step: their features are read once, and they are small."""
    polyak: float = Field(default=0.02, gt=0, le=1)
    """Share of the heads that goes into their targets at each update; TD3's 0.005 is for a million updates, not 300."""
    trace: float = Field(default=0.9, ge=0, le=1)
    """lambda of TD(lambda): 1 learns from returns as they came, 0 from the estimate at the next state."""
    low: float = -0.7
    """Least return there is; 1/PPL and correctness are never negative, so with the weights of `reward` it is
    -(price * max_cost + malformed_weight)."""
    high: float = 1.3
    """Greatest return there is: likelihood_weight + correct_weight."""
    conservative: float = Field(default=0.1, ge=0)
    """q_learning: weight of CQL's term, which lowers actions that were never tried (Kumar et al. 2020)."""
    trunk_weight: float = Field(default=0.0, ge=0)
    """q_learning: weight of the critic's loss in the language model itself. 0 leaves the writer of the candidates as it
    is: on toys, features that learn gain nothing at a low rate (3e-4) and collapse at a high one (3e-3)."""
    values: bool = False
    """Whether the trained model gets value heads: chance of success and cost to go, fitted to the judged plays."""
    fit_updates: int = Field(default=200, ge=1)
    """Updates that fit heads to a model which is not trained any more: value heads, and Q after distillation."""

    @model_validator(mode="after")
    def _bounds(self) -> CriticSettings:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, is {self.low:g} against {self.high:g}")
        return self


class ReinforceSettings(TrainerSettings):
    """Reinforcement learning of the composite: first the arguments of calls, then the decisions.

    Queries come first: while they still fail, every call looks worthless and decisions collapse to none.
    """

    form: Literal["policy_gradient", "actor_critic", "q_learning"] = "policy_gradient"
    """What turns rewards into learning: the returns themselves; twin critics that an actor follows (mu(s), the
    DDPG-like form); or Q(s, a) in the model, which acts by its argmax."""
    critic: CriticSettings = CriticSettings()
    learning_rate: float = Field(default=2e-4, gt=0, le=1)
    steps: int = Field(default=40, ge=1)
    warmup_steps: int = Field(default=1, ge=0)
    argument_weight: float = Field(default=3.0, ge=0)
    decision_weight: float = Field(default=0.3, ge=0)

    query_families: tuple[str, ...] = Field(
        default=("fact", "number", "compute", "fact", "number", "decoy", "own"), min_length=1
    )
    """Families of the problems whose calls are sampled, taken in turn; a name may occur several times."""
    batch: int = Field(default=12, ge=1)
    """Problems a step."""
    samples: int = Field(default=4, ge=2)
    """Sampled siblings of a call, for the leave-one-out baseline."""
    temperature: float = Field(default=1.0, gt=0)
    max_tokens: int = Field(default=24, ge=4)
    """Limit of every turn in a rollout: one straggler holds up the whole batch."""

    decisions: Literal["weights", "head", "draft"] = "weights"
    """What learns decisions: the model's own weights, step by step; or a linear head on its features, which decides at
    roots and leaves the weights as they are (`training.decision_values`): by the state at the end of the context, or by
    the answer that the model drafts there first."""
    decision_start: float = Field(default=0.6, ge=0, le=1)
    """Share of the steps before decisions are learnt."""
    families: tuple[str, ...] = Field(
        default=(
            "fact",
            "number",
            "compute",
            "fact",
            "chat",
            "number",
            "compute",
            "decoy",
            "fact",
            "chat",
            "two_hop",
            "own",
        ),
        min_length=1,
    )
    """Families of the problems whose decisions are judged."""
    judged: int = Field(default=96, ge=1)
    """Problems whose decisions are judged, all with the weights that the queries ended with."""
    judged_at_once: int = Field(default=48, ge=1)
    """Of these, played together; bounds memory."""
    decision_batch: int = Field(default=16, ge=1)
    """Judged problems a step."""
    decision_temperature: float = Field(default=0.1, gt=0)
    """tau of the all-actions target softmax(Q / tau)."""

    decision_trust: float | None = Field(default=0.1, gt=0)
    """Most nats, mean KL(before || after), that one update may move the decisions of its roots; one that moves them
    further is halved until it does not. null: no limit."""
    decision_floor: float = Field(default=0.0, ge=0, lt=1)
    """Share of the all-actions target that is spread evenly over the decisions, so that none vanishes."""
    price_conditioned: tuple[float, ...] = ()
    """Prices (lambda) that the policy is told in its prompt and learns to follow, ascending, in place of `reward.price`
    alone; none: it is told nothing. Each judged root is learnt at all of them, which needs no further rollout."""
    normaliser: Normaliser = "none"
    """none: leave-one-out advantages and values as they are. group_std: both divided by the group's standard deviation,
    as GRPO does; only for the experiment that shows what comes of it."""
    allow_group_std: bool = False
    """Must be true for `normaliser: group_std`."""

    replay_batch: int = Field(default=4, ge=0)
    """Replayed demonstrations a step."""
    replay_weight: float = Field(default=0.1, ge=0)
    """Of the imitation of replayed decisions and code; heavier, their gradient drowns that of the queries."""
    kl_weight: float = Field(default=0.5, ge=0)
    """Of KL(clone || policy) on replayed answer tokens."""
    price_warmup_steps: int = Field(default=4, ge=0)
    """Steps over which lambda rises from 0."""
    references: int = Field(default=4, ge=0)
    """References taught a step, those with the best rewards."""
    reference_weight: float = Field(default=0.1, ge=0)
    """Of the likelihood gradient on the reference's tokens."""
    least_likelihood: float = Field(default=0.2, ge=0, le=1)
    """A reference whose likelihood given the tool responses is lower is not taught: the responses do not hold it."""
    call_rate_low: float = Field(default=0.05, ge=0, le=1)
    """The run stops when fewer problems than this share still call a tool, and more did before."""
    call_rate_band: Mapping[str, tuple[float, float]] = {}
    """Family to [lowest, highest] share of its problems that call a tool; outside it the run stops."""
    call_rate_window: int = Field(default=24, ge=1)
    """Problems of a family, the last ones, whose share is compared with the band."""
    kl_high: float | None = Field(default=0.5, gt=0)
    """KL(clone || policy), nats a token of replayed answers, that raises an alarm; null: none."""
    entropy_low: float | None = Field(default=None, ge=0)
    """Mean entropy of decisions, in nats, below which an alarm is raised; null: none."""
    alarms_stop: bool = False
    """An alarm ends the run; else it is told and counted."""

    @model_validator(mode="after")
    def _no_group_std_with_a_cost(self) -> Self:
        if self.normaliser == "group_std" and not self.allow_group_std:
            raise ValueError(
                "normaliser: group_std is refused: in a group where every branch fails, only the cost differs, and "
                "divided by the group's standard deviation the smallest price outweighs everything: the policy stops "
                "calling tools. Set allow_group_std: true to see it happen"
            )
        return self

    @model_validator(mode="after")
    def _head_alone(self) -> Self:
        if self.decisions != "weights" and (self.form != "policy_gradient" or self.price_conditioned):
            raise ValueError(
                f"decisions: {self.decisions} goes with form: policy_gradient and one price: the other forms have "
                "heads of their own, and a linear head cannot follow the prices that it is told"
            )
        return self

    @field_validator("price_conditioned")
    @classmethod
    def _levels(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        ascending = all(low < high for low, high in pairwise(levels))
        if not ascending or any(level < 0 for level in levels) or len(levels) == 1:
            raise ValueError("must be at least two prices >= 0, ascending, or none")
        return levels

    @model_validator(mode="after")
    def _bands_are_bands(self) -> Self:
        known = {*self.families, *self.query_families}
        for family, (low, high) in self.call_rate_band.items():
            if family not in known:
                raise ValueError(f"call_rate_band: no problem of family {family!r} is collected")
            if not 0.0 <= low <= high <= 1.0:
                raise ValueError(f"call_rate_band: {family}: must be [lowest, highest] within 0 and 1")
        return self

    preference_weight: float = Field(default=0.0, ge=0)
    """Of the preference contrast (step DPO on annotated pairs, and on judged ones once there are any)."""
    preference_batch: int = Field(default=8, ge=1)
    """Pairs a step."""
    preference_beta: float = Field(default=0.5, gt=0)
    """beta of DPO: how far from the clone a pair may carry."""
    preference_margin: float = Field(default=0.1, gt=0)
    """Judged decisions make a pair when their values differ by at least this."""

    def judge_from(self) -> int:
        """The first step whose decisions are learnt."""
        return round(self.decision_start * self.steps)


class DistilSettings(TrainerSettings):
    """Distillation of search data."""

    learning_rate: float = Field(default=6e-5, gt=0, le=1)
    steps: int = Field(default=8, ge=1)
    batch: int = Field(default=12, ge=1)
    search_share: float = Field(default=0.7, ge=0, le=1)
    """Share of search trajectories in a batch; the rest is replayed demonstrations and direct answers."""
