"""Stage `reinforce`: RL of the composite under the deployment's tools.

Takes the clone; gives models/reinforced and, for distillation, what every decision at the judged roots led to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from components.policy.direct import make_score_reference
from components.policy.policy import Policy
from components.policy.told_price import write_levels
from components.records.jsonl import read_records, write_records
from components.records.manifest import verify_manifest
from components.reward.at_price import at_price
from components.reward.preference import verdict_of
from components.rollout.groups import Collector, GroupSettings
from components.schema.curated import ActionPreference
from components.schema.group import Group
from components.schema.identity import child_seed
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from components.training.batches import indices, replay_indices
from components.training.examples import DIRECT, KEEP, Example
from components.training.forms import make_form
from components.training.guards import TrainingStopped
from components.training.inputs import Material, Replay, Vocabulary
from components.training.material import Encoder, Repriced, as_it_is, material
from components.training.reinforce import clone_hidden, reinforce
from flows.shared.acting import Actor, equip
from flows.shared.contrasted import ContrastedPairs
from flows.shared.faults import UserFault
from flows.shared.heads import write_decisions_of, write_values_of
from flows.shared.memory import give_back
from flows.shared.stage import StageRun, stage_run
from flows.shared.training import (
    StepLog,
    curated_specs,
    load_trainable,
    open_encoder,
    reporter,
    save_trained,
    train_problems,
)

STAGE = "reinforce"


class Stopped(UserFault):
    """A guard ended the run."""


def main() -> None:
    """Reinforce."""
    with stage_run(STAGE) as run:
        clone, scorer = run.paths.model("clone"), verify_manifest(run.paths.model("base"))
        verify_manifest(clone)
        run.note("scorer", scorer)
        policy = load_trainable(run, clone)
        with equip(policy, run.paths, run.params) as actor:
            try:
                _reinforce(run, policy, actor, scorer)
            except TrainingStopped as stop:
                raise Stopped(str(stop)) from None


def _reinforce(run: StageRun, policy: Policy, actor: Actor, scorer: str) -> None:
    settings, log = run.params.reinforce, StepLog(run.work / "steps.jsonl")
    encoder, problems = open_encoder(policy, curated_specs(run)), train_problems(run, settings.price_conditioned)
    form = make_form(policy.model, settings, _vocabulary(actor), seed=child_seed(run.seed, settings.form))
    kept = encoder.pool(read_records(run.paths.demonstrations, Trajectory), problems, KEEP)
    direct = encoder.pool(read_records(run.paths.direct, Trajectory), problems, DIRECT)
    reinforce(
        policy.model,
        _material_of(run, policy, actor, encoder, problems, kept=kept, direct=direct),
        _pool(run, policy, kept=kept, direct=direct),
        settings,
        _vocabulary(actor),
        form=form,
        refresh=policy.refresh,
        seed=run.seed,
        checkpoint=run.work / "checkpoint",
        report=reporter(run, settings.steps, also=log.add),
        scorer=scorer,
        warn=run.say,
    )
    log.write(run.paths.reinforce_steps)
    judged = read_records(_judged_file(run), Group) if _judged_file(run).is_file() else ()
    trajectories = [trajectory for group in judged for trajectory in group.trajectories]
    write_records(run.paths.rollouts, trajectories)

    def also(folder: Path) -> None:
        form.export(folder)
        write_levels(folder, settings.price_conditioned)
        write_values_of(run, policy, encoder, problems, trajectories, folder)
        write_decisions_of(run, policy, encoder, problems, trajectories, folder)

    save_trained(run, policy, "reinforced", also)


def _replay_of(run: StageRun, step: int, *, kept: int, direct: int) -> tuple[int, ...]:
    return replay_indices(kept, direct, run.params.reinforce.replay_batch, seed=run.seed, step=step)


def _pool(run: StageRun, policy: Policy, *, kept: Sequence[Example], direct: Sequence[Example]) -> dict[int, Replay]:
    """What the run will replay; made before any checkpoint is loaded, while the model still is the clone."""
    settings = run.params.reinforce
    steps = (_replay_of(run, step, kept=len(kept), direct=len(direct)) for step in range(settings.steps))
    wanted = {index for replay in steps for index in replay}
    return clone_hidden(policy.model, [*kept, *direct], wanted, tokens_per_pass=settings.tokens_per_pass)


def _vocabulary(actor: Actor) -> Vocabulary:
    chat = actor.policy.chat
    return Vocabulary(chat.call_opening, {spec.name: chat.encode(spec.name) for spec in actor.toolbox.specs()})


def _material_of(
    run: StageRun,
    policy: Policy,
    actor: Actor,
    encoder: Encoder,
    problems: Mapping[str, Problem],
    *,
    kept: Sequence[Example],
    direct: Sequence[Example],
) -> Callable[[int], Material]:
    settings = run.params.reinforce
    collector = Collector(
        policy=actor.policy,
        toolbox=actor.toolbox,
        problems=tuple(problems.values()),
        score_reference=make_score_reference(run.paths.model("base"), run.params.policy),
        prices=actor.prices,
        reward=run.params.reward,
        settings=GroupSettings(
            query_families=settings.query_families,
            families=settings.families,
            batch=settings.batch,
            samples=settings.samples,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            price_warmup_steps=settings.price_warmup_steps,
        ),
        seed=run.seed,
        verdict=verdict_of(read_records(run.paths.preferences, ActionPreference)),
    )
    judged: list[Group] = []
    repriced = _repriced(run, actor, encoder)
    pairs = ContrastedPairs(run, policy, encoder, problems)

    def material_of(step: int) -> Material:
        replay = _replay_of(run, step, kept=len(kept), direct=len(direct))
        if step < settings.judge_from():
            return pairs.add_to(material(collector.siblings(step), replay, encoder, settings), step)
        if not judged:
            judged.extend(_judged(run, collector))
            pairs.judged([told for group in judged for told in repriced(group)])
        chosen = indices(len(judged), settings.decision_batch, seed=run.seed, step=step - settings.judge_from())
        learnt = material([judged[i] for i in chosen], replay, encoder, settings, repriced=repriced)
        return pairs.add_to(learnt, step)

    return material_of


def _repriced(run: StageRun, actor: Actor, encoder: Encoder) -> Repriced:
    """A judged root under every price that the policy learns to follow; as it is when it learns none."""
    levels = run.params.reinforce.price_conditioned

    def told(group: Group) -> list[Group]:
        problems = [replace(group.problem, price=level) for level in levels]
        contexts = map(encoder.context, problems)
        return [
            at_price(group, problem, context, prices=actor.prices, settings=run.params.reward)
            for problem, context in zip(problems, contexts, strict=True)
        ]

    return told if levels else as_it_is


def _judged(run: StageRun, collector: Collector) -> list[Group]:
    """All actions at many roots, kept on disk: a killed run goes on with the values it had."""
    settings, file = run.params.reinforce, _judged_file(run)
    if not file.is_file():
        steps = settings.judge_from()

        def told(done: int) -> None:
            run.progress(steps, settings.steps, f"decisions judged {done}/{settings.judged}")

        give_back()
        write_records(file, collector.decisions(settings.judged, at_once=settings.judged_at_once, told=told))
        give_back()
    return list(read_records(file, Group))


def _judged_file(run: StageRun) -> Path:
    return run.work / "judged.jsonl"


if __name__ == "__main__":
    main()
