"""One RL step against TRL's GRPOTrainer: rollouts with a search tool, scoring by a frozen model, one update.

    python -m tests.benchmarks.rl_step [STEPS]        (needs `pip install trl`)

The same base model in bf16, the same problems, corpus, search engine, scorer and group sizes; queries of at most 24
tokens; the upper half of the layers learns on both sides. TRL is set as its documentation advises for one device: no
reference model (beta 0), the whole batch in one generation and one update, no gradient checkpointing. Its completion is
taken as the query, so it never pays for a call's opening or for an answer. Writes results/rl_step.json.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from components.curation.corpus import make_corpus
from components.curation.families import all_problems
from components.curation.settings import CorpusSettings
from components.policy.direct import make_score_reference, mean_logprob, span_request
from components.policy.load import load_model, load_policy
from components.policy.policy import Policy
from components.policy.settings import PolicySettings
from components.reward.likelihood import likelihood
from components.reward.settings import RewardSettings
from components.rollout.groups import Collector, GroupSettings
from components.schema.message import ToolCall
from components.schema.problem import Problem
from components.tools.open_toolbox import open_toolbox
from components.tools.prices import PriceSheet
from components.tools.settings import ToolSettings
from components.tools.toolbox import Toolbox
from components.training.inputs import Vocabulary
from components.training.material import Encoder, material
from components.training.optimiser import MasterAdamW, freeze_lower
from components.training.reinforce import backward
from components.training.settings import ReinforceSettings
from flows.shared.training import open_encoder
from tests.benchmarks.engine import base_folder
from tests.benchmarks.harness import Row, figure, ratio, seconds_of, told, write

PROBLEMS, SIBLINGS, QUERY = 12, 4, 24
SETTINGS = ReinforceSettings(batch=PROBLEMS, samples=SIBLINGS, max_tokens=QUERY, replay_batch=0)


def main(steps: int) -> None:
    """Both sides in turn, step by step."""
    started, folder = time.perf_counter(), base_folder()
    corpus = make_corpus(CorpusSettings(), seed=0)
    pool = [p for p in all_problems(corpus.facts, 0) if p.split == "train" and p.family in ("fact", "number")]
    problems = tuple(random.Random(0).sample(pool, 200))
    policy = load_policy(folder, PolicySettings(), policy_id="ours")
    prices = PriceSheet()
    toolbox = open_toolbox(ToolSettings(), prices, corpus.passages, cut=policy.chat.cut, clock=time.monotonic)
    ours = _our_step(policy, toolbox, problems, folder, prices)
    ours(0), ours(1)
    alone = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # before the other side takes any
    theirs = _their_step(folder, toolbox, problems, policy, steps=steps + 1)
    theirs()
    pairs, rows = [], list[Row]()
    for step in range(2, steps + 2):
        pairs.append((seconds_of(lambda step=step: ours(step)), seconds_of(theirs)))
        told(f"  {pairs[-1][0]:.1f} s against {pairs[-1][1]:.1f} s")
    rows.append(
        ratio("one RL step (48 rollouts with tools, scoring, update) against TRL GRPOTrainer", pairs, bar=">= 3")
    )
    rows.append(figure("one RL step", [one for one, _ in pairs], unit="s"))
    rows.append(figure("peak memory of one RL step, policy and scorer", [alone], unit="GiB", bar="<= 6"))
    both = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows.append(figure("peak memory with both sides in one process", [both], unit="GiB"))
    write("rl_step", rows, started=started)
    toolbox.close()


def _our_step(
    policy: Policy, toolbox: Toolbox, problems: tuple[Problem, ...], folder: Path, prices: PriceSheet
) -> Callable[[int], None]:
    trained = freeze_lower(policy.model, SETTINGS.trained_layers)
    optimiser = MasterAdamW(policy.model, learning_rate=1e-5, warmup_steps=0, total_steps=1000, max_grad_norm=1.0)
    encoder: Encoder = open_encoder(policy, toolbox.specs())
    words = Vocabulary(policy.chat.call_opening, {spec.name: policy.chat.encode(spec.name) for spec in toolbox.specs()})
    collector = Collector(
        policy=policy,
        toolbox=toolbox,
        problems=problems,
        score_reference=make_score_reference(folder, PolicySettings()),
        prices=prices,
        reward=RewardSettings(),
        settings=GroupSettings(
            query_families=("fact", "number"),
            families=("fact",),
            batch=PROBLEMS,
            samples=SIBLINGS,
            temperature=1.0,
            max_tokens=QUERY,
            price_warmup_steps=0,
        ),
        seed=0,
    )

    def step(number: int) -> None:
        learnt = material(collector.siblings(number), (), encoder, SETTINGS)
        policy.model.train()
        backward(policy.model, learnt, {}, SETTINGS, words, judging=False)
        optimiser.step()
        policy.refresh(trained)

    return step


def _their_step(
    folder: Path, toolbox: Toolbox, problems: Sequence[Problem], policy: Policy, *, steps: int
) -> Callable[[], None]:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = load_model(folder, PolicySettings())
    frozen, _ = load_model(folder, PolicySettings())
    freeze_lower(model, SETTINGS.trained_layers)
    by_prompt = {policy.chat.decode(policy.chat.prompt_ids(p.prompt, toolbox.specs(p.tool_names))): p for p in problems}

    def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        """What the frozen model makes of the reference, given what the completion finds as a query."""
        owners = [by_prompt[prompt] for prompt in prompts]
        results = toolbox.call_many([ToolCall("search", {"query": text}) for text in completions])
        return _plain_scores(frozen, policy, owners, [result.content for result in results])

    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=PROBLEMS * SIBLINGS,
        num_generations=SIBLINGS,
        max_completion_length=QUERY,
        learning_rate=1e-5,
        beta=0.0,
        max_steps=steps,
        bf16=True,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1000,
        disable_tqdm=True,
        dataloader_num_workers=0,
    )
    data = Dataset.from_list([{"prompt": prompt} for prompt in by_prompt])
    trainer = GRPOTrainer(model, reward_funcs=reward, args=config, train_dataset=data, processing_class=tokenizer)
    return _one_at_a_time(trainer)


def _one_at_a_time(trainer: Any) -> Callable[[], None]:
    """TRL's own training step, called directly: its generation, scoring, loss, backward and optimiser."""
    trainer.create_optimizer_and_scheduler(num_training_steps=1000)
    trainer.model.train()
    batches = iter(trainer.get_train_dataloader())
    trainer.current_gradient_accumulation_steps = 1

    def step() -> None:
        trainer.training_step(trainer.model, next(batches), num_items_in_batch=None)
        torch.nn.utils.clip_grad_norm_([p for p in trainer.model.parameters() if p.requires_grad], 1.0)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        trainer.state.global_step += 1

    return step


def _plain_scores(model: Any, policy: Policy, owners: Sequence[Problem], results: Sequence[str]) -> list[float]:
    """1/PPL of the references by one padded forward: separate sequences, logits on every position."""
    requests = [span_request(policy, p.prompt, [r], p.reference)[0] for p, r in zip(owners, results, strict=True)]
    width = max(len(request.ids) for request in requests)
    ids = torch.zeros((len(requests), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, request in enumerate(requests):
        ids[row, : len(request.ids)] = torch.tensor(request.ids)
        mask[row, : len(request.ids)] = 1
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    scores = []
    for row, request in enumerate(requests):
        logprobs = logits[row, request.start - 1 : len(request.ids) - 1].float().log_softmax(-1)
        targets = torch.tensor(request.ids[request.start :])[:, None]
        scores.append(likelihood(mean_logprob(logprobs.gather(1, targets).squeeze(1).tolist()), "inv_ppl"))
    return scores


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
