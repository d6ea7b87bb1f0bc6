"""Groups of branches at the root of a problem, scored: what reinforcement learns arguments and decisions from.

Takes a policy, problems and a frozen scorer. Two kinds of group. Siblings: the tool that the policy likes best is
called K times with sampled arguments, and each play stops at its results: they tell the scorer what a query was worth.
All actions: every decision is forced once and played to the end greedily, as the policy acts, so that an action never
tried cannot vanish from training and a decision is judged by what would really follow it (learning.md 5.3 2a).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from components.environment.step import start
from components.policy.backend import Backend
from components.reward.at_price import reward_for
from components.reward.credit import credited
from components.reward.distractors import rivals_of
from components.reward.evidence import ScoreReference, with_evidence
from components.reward.likelihood import likelihood
from components.reward.parts import reward_parts, scored, total
from components.reward.preference import Verdict, no_verdict
from components.reward.settings import RewardSettings
from components.rollout.play import RolloutSettings, request_of, rollout
from components.schema.group import Group
from components.schema.identity import child_seed
from components.schema.problem import Problem
from components.schema.trajectory import ANSWER, Trajectory
from components.tools.composite import GIVE_UP, SPLIT
from components.tools.prices import PriceSheet
from components.tools.toolbox import Toolbox

Judge = Callable[[Sequence[Trajectory], Sequence[Problem]], Sequence[Trajectory]]
"""Trajectories, each with the problem it is on, to trajectories with their evidence."""


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """What is collected."""

    query_families: tuple[str, ...]
    """Families of the problems whose calls are sampled, taken in turn."""
    families: tuple[str, ...]
    """The same where decisions are judged."""
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
    policy: Backend,
    problems: Sequence[Problem],
    toolbox: Toolbox,
    *,
    judge: Judge,
    prices: PriceSheet,
    reward: RewardSettings,
    settings: GroupSettings,
    seed: int,
    judging: bool = True,
    warm: float = 1.0,
) -> tuple[Group, ...]:
    """One group a problem: all decisions, played to the end, when decisions are judged; else siblings of one call.

    `warm`: share of the price (the problem's, where it tells one, else that of `reward`) that counts already.
    """
    greedy = RolloutSettings(max_tokens=settings.max_tokens)
    probs = policy.decide([request_of(policy, start(p), toolbox, greedy, seed=seed) for p in problems])
    if judging:
        way = greedy
        forces = [(ANSWER, *p.tool_names) for p in problems]
    else:
        way = replace(greedy, temperature=settings.temperature, stop_at_results=True)
        preferred = [max(_queried(p), key=lambda tool: q[tool]) for p, q in zip(problems, probs, strict=True)]
        forces = [(tool,) * settings.samples for tool in preferred]
    owners = [problem for problem, decisions in zip(problems, forces, strict=True) for _ in decisions]
    forced = [(decision,) for decisions in forces for decision in decisions]
    trajectories = rollout(policy, owners, toolbox, seed=seed, force=forced, settings=way)
    rewards = [reward_for(owner, reward, warm=warm) for owner in owners]
    finished = iter(_score(judge(trajectories, owners), prices, rewards))
    return tuple(
        _group(policy, problem, q, [next(finished) for _ in decisions], toolbox)
        for problem, q, decisions in zip(problems, probs, forces, strict=True)
    )


def _queried(problem: Problem) -> list[str]:
    """Tools whose results tell at once what a call was worth."""
    return [name for name in problem.tool_names if name not in (SPLIT, GIVE_UP)]


_Scored = tuple[Trajectory, float, float]


def _score(trajectories: Sequence[Trajectory], prices: PriceSheet, rewards: Sequence[RewardSettings]) -> list[_Scored]:
    """(trajectory, total reward, 1/PPL) of each under its own settings.

    Raises:
        ValueError: a part that the reward needs was not scored; a group with holes cannot be compared.
    """
    finished = []
    for trajectory, reward in zip(trajectories, rewards, strict=True):
        parts, evidence = reward_parts(trajectory, prices=prices, settings=reward), trajectory.outcome.evidence
        whole = total(parts, reward)
        if whole is None or evidence is None:
            raise ValueError(f"trajectory {trajectory.trajectory_id}: its reward has unscored parts: {parts}")
        mean = evidence.readings[-1].mean_logprob
        finished.append((credited(scored(trajectory, parts, reward), whole), whole, likelihood(mean, "inv_ppl")))
    return finished


def _group(
    policy: Backend, problem: Problem, probs: Mapping[str, float], mine: Sequence[_Scored], toolbox: Toolbox
) -> Group:
    return Group(
        problem=problem,
        context_ids=policy.chat.prompt_ids(problem.prompt, toolbox.specs(problem.tool_names), problem.price),
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
    """Collects groups; everything it needs but the step's number."""

    policy: Backend
    toolbox: Toolbox
    problems: tuple[Problem, ...]
    score_reference: ScoreReference
    prices: PriceSheet
    reward: RewardSettings
    settings: GroupSettings
    seed: int
    verdict: Verdict = no_verdict
    """What annotated preferences say of a trajectory."""

    def siblings(self, step: int) -> tuple[Group, ...]:
        """Sampled calls under the present weights; the same step, weights and tools give the same groups."""
        settings = self.settings
        warm = min(1.0, (step + 1) / (settings.price_warmup_steps + 1))
        chosen = batch_problems(self.problems, settings.query_families, settings.batch, seed=self.seed, step=step)
        return self.collect(chosen, judging=False, seed=child_seed(self.seed, "rollout", step), warm=warm)

    def decisions(self, count: int, *, at_once: int, told: Callable[[int], None] = lambda done: None) -> list[Group]:
        """All actions at the roots of `count` problems under the present weights, `at_once` problems together."""
        chosen = batch_problems(self.problems, self.settings.families, count, seed=self.seed, step=0)
        chosen = tuple({problem.problem_id: problem for problem in chosen}.values())
        groups: list[Group] = []
        for first in range(0, len(chosen), at_once):
            some, seed = chosen[first : first + at_once], child_seed(self.seed, "decisions", first)
            groups += self.collect(some, judging=True, seed=seed)
            told(len(groups))
        return groups

    def collect(self, problems: Sequence[Problem], *, judging: bool, seed: int, warm: float = 1.0) -> tuple[Group, ...]:
        """One group a problem; `warm`: share of the price that counts already."""
        return collect_groups(
            self.policy,
            problems,
            self.toolbox,
            judge=self._judge,
            prices=self.prices,
            reward=self.reward,
            settings=self.settings,
            seed=seed,
            judging=judging,
            warm=warm,
        )

    def _judge(self, trajectories: Sequence[Trajectory], problems: Sequence[Problem]) -> tuple[Trajectory, ...]:
        return with_evidence(
            trajectories,
            problems,
            score_reference=self.score_reference,
            rivals=rivals_of(self.problems, self.reward.distractors),
            verdict=self.verdict,
            settings=self.reward,
        )
