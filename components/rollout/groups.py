"""All-actions groups: at the root of every problem each decision is forced, and the preferred tool is sampled K times.

Takes a policy, problems and a frozen scorer; gives scored groups. Forcing every decision means that an action never
tried cannot vanish from training (learning.md 5.3 stage 2a). Trains nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from components.environment.step import start
from components.policy.policy import Policy
from components.reward.likelihood import likelihood
from components.reward.parts import reward_parts, scored, total
from components.reward.settings import RewardSettings
from components.rollout.play import RolloutSettings, request_of, rollout
from components.schema.cost import Cost
from components.schema.group import Group
from components.schema.identity import child_seed
from components.schema.problem import Problem, Reference
from components.schema.trajectory import ANSWER, Trajectory
from components.tools.toolbox import Toolbox

ScoreReference = Callable[[Sequence[tuple[str, Sequence[str], Reference]]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """What a step collects."""

    query_families: tuple[str, ...]
    """Families of the problems before decisions are judged, taken in turn."""
    families: tuple[str, ...]
    """The same from then on."""
    judge_from: int
    """First step at which every decision is tried; before it only the siblings' arguments are compared."""
    batch: int
    """Problems a step."""
    samples: int
    """Siblings of the preferred tool."""
    temperature: float
    max_tokens: int
    """Limit of every turn of a branch."""
    price_warmup_steps: int
    """Steps over which lambda rises from 0 to its value."""


def collect_groups(
    policy: Policy,
    problems: Sequence[Problem],
    toolbox: Toolbox,
    *,
    score_reference: ScoreReference,
    units: Callable[[Cost], float],
    reward: RewardSettings,
    settings: GroupSettings,
    seed: int,
    judging: bool = True,
) -> tuple[Group, ...]:
    """One group a problem: the tool that the policy likes best is sampled K times and, when decisions are judged, every
    other decision is tried once.

    Each lone branch acts greedily; the siblings sample their arguments and then answer greedily.
    """
    greedy = RolloutSettings(max_tokens=settings.max_tokens)
    probs = policy.decide([request_of(policy, start(p), toolbox, greedy, seed=seed) for p in problems])
    preferred = [max(p.tool_names, key=lambda tool: q[tool]) for p, q in zip(problems, probs, strict=True)]
    hot = RolloutSettings(temperature=settings.temperature, max_tokens=settings.max_tokens)
    branches = [(p, tool, hot) for p, tool in zip(problems, preferred, strict=True) for _ in range(settings.samples)]
    if judging:
        branches += [
            (p, d, greedy)
            for p, tool in zip(problems, preferred, strict=True)
            for d in (ANSWER, *p.tool_names)
            if d != tool
        ]
    owners = [problem for problem, _, _ in branches]
    trajectories = rollout(
        policy,
        owners,
        toolbox,
        seed=seed,
        force=[(d,) for _, d, _ in branches],
        settings=[way for _, _, way in branches],
    )
    finished = _score(trajectories, owners, score_reference, units, reward)
    return tuple(_group(policy, p, q, finished, toolbox) for p, q in zip(problems, probs, strict=True))


_Scored = tuple[Trajectory, float, float]


def _score(
    trajectories: Sequence[Trajectory],
    owners: Sequence[Problem],
    score_reference: ScoreReference,
    units: Callable[[Cost], float],
    reward: RewardSettings,
) -> list[_Scored]:
    """(trajectory, total reward, 1/PPL) of each."""
    means = score_reference(
        [(problem.prompt, responses(t), problem.reference) for problem, t in zip(owners, trajectories, strict=True)]
    )
    finished = []
    for trajectory, mean in zip(trajectories, means, strict=True):
        parts = reward_parts(trajectory, units=units, mean_logprob=mean, settings=reward)
        finished.append((scored(trajectory, parts, reward), total(parts, reward), likelihood(mean, "inv_ppl")))
    return finished


def responses(trajectory: Trajectory) -> tuple[str, ...]:
    """What the tools said, oldest first."""
    return tuple(result.content for transition in trajectory.transitions for result in transition.results)


def _group(
    policy: Policy, problem: Problem, probs: Mapping[str, float], finished: Sequence[_Scored], toolbox: Toolbox
) -> Group:
    mine = [item for item in finished if item[0].problem_id == problem.problem_id]
    return Group(
        problem=problem,
        context_ids=policy.chat.prompt_ids(problem.prompt, toolbox.specs(problem.tool_names)),
        probs=probs,
        trajectories=tuple(item[0] for item in mine),
        rewards=tuple(item[1] for item in mine),
        likelihoods=tuple(item[2] for item in mine),
    )


def batch_problems(
    problems: Sequence[Problem], families: Sequence[str], batch: int, *, seed: int, step: int
) -> tuple[Problem, ...]:
    """The problems of a step: the families in turn, each walked through in its own seeded order.

    Raises:
        ValueError: no problem belongs to any of the families.
    """
    pools = {family: [p for p in problems if p.family == family] for family in families}
    present = [family for family in families if pools[family]]
    if not present:
        raise ValueError(f"no train problem of the families {', '.join(families)}")
    chosen = []
    for place in range(step * batch, (step + 1) * batch):
        family = present[place % len(present)]
        turn = (place // len(present)) * present.count(family) + present[: place % len(present)].count(family)
        pool = pools[family]
        order = list(range(len(pool)))
        random.Random(child_seed(seed, family, turn // len(pool))).shuffle(order)
        chosen.append(pool[order[turn % len(pool)]])
    return tuple(chosen)


@dataclass(frozen=True, slots=True)
class Collector:
    """Collects the groups of a step; everything it needs but the step's number."""

    policy: Policy
    toolbox: Toolbox
    problems: tuple[Problem, ...]
    score_reference: ScoreReference
    units: Callable[[Cost], float]
    reward: RewardSettings
    settings: GroupSettings
    seed: int

    def __call__(self, step: int) -> tuple[Group, ...]:
        """Groups under the policy's present weights; the same step, weights and tools give the same groups."""
        settings = self.settings
        warm, judging = min(1.0, (step + 1) / (settings.price_warmup_steps + 1)), step >= settings.judge_from
        families = settings.families if judging else settings.query_families
        return collect_groups(
            self.policy,
            batch_problems(self.problems, families, settings.batch, seed=self.seed, step=step),
            self.toolbox,
            score_reference=self.score_reference,
            units=self.units,
            reward=self.reward.model_copy(update={"price": self.reward.price * warm}),
            settings=settings,
            seed=child_seed(self.seed, "rollout", step),
            judging=judging,
        )
