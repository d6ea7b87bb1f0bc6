"""The policy against Hugging Face's `generate` and the plain padded ways, on the real base model.

    python -m tests.benchmarks.engine [MEASURE ...]     e.g. decode floor fan score train agreement growth

Takes the model of the stage `base` (data/models/base; else it makes it in a scratch folder). Writes
results/engine.json and, for `growth`, results/engine.svg.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib import pyplot
from torch.nn import functional as F

from components.policy.base_model import export_base
from components.policy.llama import pack
from components.policy.load import load_model, load_policy
from components.policy.policy import Policy
from components.policy.settings import PolicySettings
from components.policy.turn import GenerateRequest, ScoreRequest
from components.training.examples import Example
from components.training.losses import denominators, imitation_losses
from components.training.optimiser import freeze_lower
from tests.benchmarks.harness import RESULTS, Row, figure, paired, ratio, seconds_of, told, write

mpl.use("svg")
NEW = 32
"""Tokens decoded a sequence."""


def main(wanted: Sequence[str]) -> None:
    """Measure and write."""
    started = time.perf_counter()
    policy = load_policy(base_folder(), PolicySettings(slots=1024))
    rows: list[Row] = []
    for name in wanted or MEASURES:
        told(f"== {name}")
        rows += MEASURES[name](policy)
        write("engine", rows, started=started)
    if "growth" in (wanted or MEASURES):
        _plot(rows)


def _plot(rows: Sequence[Row]) -> None:
    """Tokens a second over the batch and over the shared prefix, as one picture."""
    figure_, axes = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for axis, start, label in ((axes[0], "decode by batch", "batch"), (axes[1], "32 cont", "tokens of shared prefix")):
        shown = [(int(row.measure.split(":")[1]), row) for row in rows if row.measure.startswith(start)]
        axis.plot([x for x, _ in shown], [row.value for _, row in shown], marker="o")
        axis.fill_between([x for x, _ in shown], [r.low for _, r in shown], [r.high for _, r in shown], alpha=0.2)
        axis.set(xlabel=label, ylabel="tokens/s", ylim=(0, None))
    axes[0].set_xscale("log", base=2)
    figure_.savefig(RESULTS / "engine.svg")


def base_folder() -> Path:
    """The base model, made where there is none."""
    folder = Path("data/models/base")
    if not (folder / "config.json").is_file():
        folder = Path(tempfile.mkdtemp()) / "base"
        export_base("wheel", folder, PolicySettings())
    return folder


def _prompts(policy: Policy, count: int, length: int, *, seed: int = 0) -> list[tuple[int, ...]]:
    """Ordinary token ids; what they mean does not matter to the time they take."""
    draw = torch.Generator().manual_seed(seed)
    top = int(policy.model.config.vocab_size)
    return [tuple(row) for row in torch.randint(100, top, (count, length), generator=draw).tolist()]


def _generate(policy: Policy, prompts: Sequence[tuple[int, ...]], *, new: int = NEW) -> Callable[[], None]:
    def work() -> None:
        policy.refresh([])
        requests = [
            GenerateRequest(
                ids,
                (),
                answer_temperature=1.0,
                seed=n,
                max_answer_tokens=new,
                min_answer_tokens=new,
                max_context_tokens=policy.capacity,
            )
            for n, ids in enumerate(prompts)
        ]
        made = policy.generate(requests)
        assert all(len(action.message.token_ids or ()) == new for action in made)

    return work


def _hugging_face(
    policy: Policy, prompts: Sequence[tuple[int, ...]], *, each: int = 1, new: int = NEW
) -> Callable[[], None]:
    ids = torch.tensor(prompts)

    @torch.no_grad()
    def work() -> None:
        made = policy.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            max_new_tokens=new,
            min_new_tokens=new,
            num_return_sequences=each,
            pad_token_id=0,
        )
        assert made.shape == (len(prompts) * each, ids.shape[1] + new)

    return work


def decode(policy: Policy) -> list[Row]:
    """Sampling 32 new tokens after prompts of 100: the whole, and the 31 that follow the first alone."""
    rows = []
    for batch in (64, 128):
        prompts = _prompts(policy, batch, 100)
        whole = paired(_generate(policy, prompts), _hugging_face(policy, prompts))
        first = paired(_generate(policy, prompts, new=1), _hugging_face(policy, prompts, new=1))
        ours_first, theirs_first = (statistics.median(side) for side in zip(*first, strict=True))
        rest = [(ours - ours_first, theirs - theirs_first) for ours, theirs in whole]
        rows.append(ratio(f"decode tokens/s, batch {batch}, against HF generate (sampling)", rest, bar=">= 4"))
        rows.append(ratio(f"generate, batch {batch}, prompts read too, against HF generate", whole, bar=None))
        rows.append(figure(f"decode, batch {batch}", [batch * (NEW - 1) / t for t, _ in rest], unit="tokens/s"))
    return rows


def _decode_only(policy: Policy, batch: int, length: int, steps: int) -> float:
    """Seconds of `steps` decode steps after the prompts were read."""
    session = policy.new_session(batch)
    with torch.no_grad():
        session.append(range(batch), _prompts(policy, batch, length), [1] * batch)
        one = [[7]] * batch

        def step() -> None:
            for _ in range(steps):
                kept = session.append(range(batch), one, [1] * batch)
                session.logits(torch.cat(kept)).argmax(-1)

        return seconds_of(step)


def floor(policy: Policy) -> list[Row]:
    """Decode steps against nothing but their prepacked linears."""
    weights, rows = pack(policy.model), []
    for batch in (64, 128):
        x = torch.randn(batch, weights.shape.hidden, dtype=weights.embedding.dtype)
        wide = torch.randn(batch, int(policy.model.config.intermediate_size), dtype=x.dtype)

        @torch.no_grad()
        def linears(x: torch.Tensor = x, wide: torch.Tensor = wide) -> None:
            for _ in range(16):
                for layer in weights.layers:
                    layer.qkv(x), layer.output(x, x), layer.up(x, layer.gate(x)), layer.down(wide, x)
                weights.head(x)

        shares = []
        for _ in range(6):
            shares.append((seconds_of(linears) / 16, _decode_only(policy, batch, 100, 16) / 16))
        rows.append(
            figure(
                f"decode step, batch {batch}: share of the matmul-only floor",
                [a / b for a, b in shares[1:]],
                unit="",
                bar=">= 0.5",
            )
        )
        rows.append(figure(f"decode step, batch {batch}", [b * 1e3 for _, b in shares[1:]], unit="ms"))
    return rows


def fan(policy: Policy) -> list[Row]:
    """8 continuations each of 16 prompts of 300 tokens."""
    prompts = _prompts(policy, 16, 300)
    ours = _generate(policy, [ids for ids in prompts for _ in range(8)])
    pairs = paired(ours, _hugging_face(policy, prompts, each=8))
    return [ratio("8 continuations of 16 prompts of 300 tokens against HF num_return_sequences", pairs, bar=">= 5")]


def score(policy: Policy) -> list[Row]:
    """8 candidates of 16 tokens after a shared prefix of 300."""
    (prefix,), ends = _prompts(policy, 1, 300), _prompts(policy, 8, 16, seed=1)
    sequences = [prefix + end for end in ends]
    ids = torch.tensor(sequences)

    def ours() -> Any:
        return policy.score([ScoreRequest(sequence, start=300) for sequence in sequences])

    @torch.no_grad()
    def padded() -> Any:
        logits = policy.model(input_ids=ids, use_cache=False).logits[:, 299:-1].float()
        return logits.log_softmax(-1).gather(2, ids[:, 300:, None])

    return [ratio("score 8 candidates after 300 shared tokens against padded", paired(ours, padded), bar=">= 4")]


def train(policy: Policy) -> list[Row]:
    """A gradient on 2 groups of 8 rollouts of 250 + 40 tokens; upper half of the layers, both ways."""
    layers = int(policy.model.config.num_hidden_layers) // 2
    freeze_lower(policy.model, layers)
    prompts = _prompts(policy, 2, 250)
    ends = _prompts(policy, 16, 40, seed=1)
    sequences = [prompts[n // 8] + end for n, end in enumerate(ends)]
    examples = [Example(ids=ids, arguments=tuple(range(250, 290)), weight=0.5) for ids in sequences]
    counts, ids = denominators(examples), torch.tensor(sequences)

    def ours() -> None:
        imitation_losses(policy.model, examples, counts, call_token=0).argument.backward()
        policy.model.zero_grad()

    def padded() -> None:
        for start in (0, 8):
            part = ids[start : start + 8]
            logits = policy.model(input_ids=part, use_cache=False).logits[:, :-1].float()
            losses = F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="none").view(8, -1)
            (0.5 * losses[:, 249:].sum() / counts.arguments).backward()
        policy.model.zero_grad()

    pairs = paired(ours, padded)
    return [ratio("training step on groups of 8 rollouts (250 + 40) against the padded step", pairs, bar=">= 3")]


def agreement(policy: Policy) -> list[Row]:
    """Log-probabilities in fp32, fast against the plain module; random and shared prefixes."""
    model, tokenizer = load_model(base_folder(), PolicySettings(dtype="float32"))
    exact = Policy(model, tokenizer, PolicySettings(dtype="float32"), policy_id="fp32")
    text = "The capital of Chad is N'Djamena, and its people are known as Chadians. " * 4
    ids = exact.chat.encode(text)
    sequences = [ids[:40], ids[:60], ids[3:50], (*ids[:40], *ids[2:9])]
    worst = 0.0
    with torch.no_grad():
        fast = exact.score([ScoreRequest(tuple(s), start=1) for s in sequences])
        for sequence, logprobs in zip(sequences, fast, strict=True):
            plain = model(input_ids=torch.tensor([sequence])).logits[0, :-1].log_softmax(-1)
            slow = plain.gather(1, torch.tensor(sequence[1:])[:, None]).squeeze(1)
            worst = max(worst, float((slow - torch.tensor(logprobs)).abs().max()))
    return [figure("fp32 log-probabilities, fast against HF: largest difference", [worst], unit="", bar="<= 1e-4")]


def growth(policy: Policy) -> list[Row]:
    """Tokens/s over the batch, and over the length of a prefix that 32 continuations share."""
    rows = []
    for batch in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        times = [_decode_only(policy, batch, 100, 16) for _ in range(3)]
        rows.append(figure(f"decode by batch: {batch:3d}", [batch * 16 / t for t in times], unit="tokens/s"))
    for length in (1, 125, 250, 500, 1000, 1900):
        (prompt,) = _prompts(policy, 1, length)
        work = _generate(policy, [prompt] * 32)
        times = [seconds_of(work) for _ in range(3)]
        rows.append(
            figure(f"32 continuations by shared prefix: {length:4d}", [32 * NEW / t for t in times], unit="tokens/s")
        )
    return rows


MEASURES: dict[str, Callable[[Policy], list[Row]]] = {
    "decode": decode,
    "floor": floor,
    "fan": fan,
    "score": score,
    "train": train,
    "agreement": agreement,
    "growth": growth,
}

if __name__ == "__main__":
    main(sys.argv[1:])
