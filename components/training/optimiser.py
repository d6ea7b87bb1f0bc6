"""AdamW on fp32 master weights under a bf16 model, with checkpoints. Takes a causal LM; gives steps. Knows no loss.

The upper blocks and the final norm learn; embedding, head and lower blocks stay as they are. Checkpoints are
safetensors and JSON, written aside and renamed, so that a killed run continues from the last whole one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from components.policy.model_type import CausalLM
from components.training.shares import dealt_like, whole_tensor
from components.training.team import ALONE, Team


def freeze_lower(model: CausalLM, trained_layers: int, *, checkpointing: bool = False) -> tuple[int, ...]:
    """Let only the last `trained_layers` blocks and the final norm learn; their indices come back.

    `checkpointing`: what a block computes is forgotten and computed again for the gradient; less memory, more time.
    """
    if checkpointing:
        model.activation_checkpointing_enable()
    blocks = model.model.layers
    first = max(0, len(blocks) - trained_layers)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for module in [*blocks[first:], model.model.norm]:
        for parameter in module.parameters():
            parameter.requires_grad_(True)
    return tuple(range(first, len(blocks)))


ALSO = "also.safetensors"
"""File of a checkpoint with tensors that are not the model's: critics, their targets, their optimiser."""


def whole(folder: Path) -> Path | None:
    """Where the last whole checkpoint of `folder` is: there, or in the one it was replacing; None without any."""
    return next((f for f in (folder, folder.with_name(folder.name + ".old")) if (f / "state.json").exists()), None)


def read_also(folder: Path) -> dict[str, Tensor]:
    """The tensors `also` of the last whole checkpoint; none when it was written without any, or there is none."""
    found = whole(folder)
    tensors: dict[str, Tensor] = load_file(str(found / ALSO)) if found and (found / ALSO).is_file() else {}
    return tensors


class MasterAdamW:
    """AdamW whose state and weights are fp32 while the model computes in its own type."""

    def __init__(
        self,
        model: CausalLM,
        *,
        learning_rate: float,
        warmup_steps: int,
        total_steps: int,
        max_grad_norm: float,
        team: Team = ALONE,
    ) -> None:
        self._named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._masters = {name: p.detach().float().clone() for name, p in self._named.items()}
        self._adam = torch.optim.AdamW(
            self._masters.values(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True
        )
        self._peak, self._warmup, self._total = learning_rate, warmup_steps, total_steps
        self._max_grad_norm, self._team = max_grad_norm, team
        self._before: dict[str, Tensor] = {}
        self.step_count = 0

    def learning_rate(self) -> float:
        """Linear warm-up, then linear decay to a tenth of the peak."""
        step = self.step_count + 1
        if step <= self._warmup:
            return self._peak * step / self._warmup
        left = (self._total - step) / max(1, self._total - self._warmup)
        return self._peak * (0.1 + 0.9 * max(0.0, left))

    def step(self, *, revocable: bool = False) -> float:
        """One update from the gradients on the model, summed over the team and cleared; gives their norm, unclipped.

        `revocable`: the weights before it are kept, so that it can be shortened.
        """
        self._before.clear()  # first: two copies would not be small
        if revocable:
            self._before.update((name, master.clone()) for name, master in self._masters.items())
        for name, parameter in self._named.items():
            master = self._masters[name]
            master.grad = torch.zeros_like(master) if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        self._add_up([master.grad for master in self._masters.values() if master.grad is not None])
        norm = float(whole_tensor(torch.nn.utils.clip_grad_norm_(self._masters.values(), self._max_grad_norm)))
        for group in self._adam.param_groups:
            group["lr"] = self.learning_rate()
        self._adam.step()
        for master in self._masters.values():
            master.grad = None
        self._show()
        self.step_count += 1
        return norm

    def _add_up(self, grads: Sequence[Tensor]) -> None:
        if self._team.sharded:
            for grad in grads:
                grad.mul_(self._team.size)  # they have been averaged on their way to the shares
        else:
            self._team.add_up(grads)

    @torch.no_grad()
    def shorten(self, share: float) -> None:
        """Leave only `share` of the last update, which was revocable; its moments stay."""
        for name, master in self._masters.items():
            master.copy_(self._before[name].lerp(master, share))
        self._show()

    @torch.no_grad()
    def _show(self) -> None:
        """The model's weights, in its own type, after the masters."""
        for name, parameter in self._named.items():
            parameter.copy_(self._masters[name])

    def save(self, folder: Path, extra: dict[str, object], also: Mapping[str, Tensor] | None = None) -> None:
        """Replace the checkpoint in `folder` by the present state, the JSON-able `extra` and the tensors `also`.

        Written by the process that leads; in a sharded team every one must call this.
        """
        tensors = self._state()
        if not self._team.leads:
            return
        aside = folder.with_name(folder.name + ".tmp")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        save_file(tensors, str(aside / "optimiser.safetensors"))
        if also:
            save_file(dict(also), str(aside / ALSO))
        (aside / "state.json").write_text(json.dumps({"step": self.step_count, **extra}))
        old = folder.with_name(folder.name + ".old")
        if folder.exists():  # else the old one is all that a kill has left: it stays until the new one is in place
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(aside, folder)
        shutil.rmtree(old, ignore_errors=True)

    def _state(self) -> dict[str, Tensor]:
        """Masters and moments, whole, for the process that leads; none for the others."""
        tensors: dict[str, Tensor] = {}
        if not self._team.leads and not self._team.sharded:
            return tensors
        for name, master in self._masters.items():
            state = self._adam.state[master]
            for kind, part in (("master", master), ("m", state["exp_avg"]), ("v", state["exp_avg_sq"])):
                whole_part = whole_tensor(part)
                if self._team.leads:
                    tensors[f"{kind}/{name}"] = whole_part
        return tensors

    def load(self, folder: Path) -> dict[str, object] | None:
        """Continue from the checkpoint in `folder` (or from the one it was replacing); None when there is none."""
        found = whole(folder)
        if found is None:
            return None
        tensors = load_file(str(found / "optimiser.safetensors"))
        state: dict[str, object] = json.loads((found / "state.json").read_text())
        self.step_count = int(str(state["step"]))
        with torch.no_grad():
            for name, master in self._masters.items():
                master.copy_(dealt_like(tensors[f"master/{name}"], master))
                self._named[name].copy_(master)
                self._adam.state[master] = {
                    # the fused step wants its count beside it
                    "step": torch.tensor(float(self.step_count), device=master.device),
                    "exp_avg": dealt_like(tensors[f"m/{name}"], master),
                    "exp_avg_sq": dealt_like(tensors[f"v/{name}"], master),
                }
        return state
