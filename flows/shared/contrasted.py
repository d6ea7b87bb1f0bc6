"""The pairs of actions that reinforcement contrasts. Takes annotated preferences and judged groups; gives pairs a step.

The clone's log-probabilities are computed once: for annotations by the policy while it still is the clone, for judged
groups, which come later, by the clone read from disk. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from components.policy.load import load_model
from components.policy.model_type import CausalLM
from components.policy.policy import Policy
from components.records.jsonl import read_records
from components.schema.curated import ActionPreference
from components.schema.group import Group
from components.schema.identity import child_seed
from components.schema.problem import Problem
from components.training.batches import indices
from components.training.contrasts import annotated_contrasts, judged_contrasts
from components.training.inputs import Material
from components.training.material import Encoder
from components.training.preference import ActionPair, Contrast, with_clone
from flows.shared.stage import StageRun


class ContrastedPairs:
    """All pairs so far; none while `preference_weight` is 0."""

    def __init__(self, run: StageRun, policy: Policy, encoder: Encoder, problems: Mapping[str, Problem]) -> None:
        """`policy` still has the clone's weights."""
        self._run, self._policy, self._encoder = run, policy, encoder
        self._pairs: list[ActionPair] = []
        if run.params.reinforce.preference_weight:
            annotated = read_records(run.paths.preferences, ActionPreference)
            self._add(policy.model, annotated_contrasts(annotated, problems, encoder))

    def judged(self, groups: Sequence[Group]) -> None:
        """Add the pairs of the judged groups."""
        settings = self._run.params.reinforce
        if settings.preference_weight:
            clone, _ = load_model(self._run.paths.model("clone"), self._run.params.policy)
            self._add(clone, judged_contrasts(groups, self._encoder, settings))

    def add_to(self, material: Material, step: int) -> Material:
        """The material with this step's pairs."""
        if not self._pairs:
            return material
        batch, seed = self._run.params.reinforce.preference_batch, child_seed(self._run.seed, "preferences")
        chosen = indices(len(self._pairs), batch, seed=seed, step=step)
        return replace(material, pairs=tuple(self._pairs[i] for i in chosen))

    def _add(self, clone: CausalLM, contrasts: Sequence[Contrast]) -> None:
        token, limit = self._policy.chat.call_opening[0], self._run.params.reinforce.tokens_per_pass
        self._pairs += with_clone(clone, contrasts, call_token=token, tokens_per_pass=limit)
