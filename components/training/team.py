"""Processes that train one model: each computes the gradient of its share of a step, and all take the same step.

Takes nothing but the process's place among the others; sums tensors over them. Data parallelism as in DDP (Li et al.
2020), with one sum a step in fp32: losses are averaged over the whole step whoever computes them, so the step is that
of a single process but for rounding. Knows neither models nor how processes are started; alone it does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch.distributed
from torch import Tensor

from components.training.examples import Example


@dataclass(frozen=True, slots=True)
class Team:
    """The process `rank` of `size`; more than one are members of torch's default process group."""

    rank: int = 0
    size: int = 1
    sharded: bool = False
    """Whether each keeps only its share of the weights and of their optimiser (see `training.sharding`)."""

    @property
    def leads(self) -> bool:
        """True for the one process that writes and tells."""
        return self.rank == 0

    def share(self, examples: Sequence[Example]) -> Sequence[Example]:
        """The examples whose gradient is this process's: all alone, else its part, evened by length."""
        if self.size == 1:
            return examples
        return sorted(examples, key=lambda example: len(example.ids))[self.rank :: self.size]

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Put the sum over all processes in each of the tensors, which every process has in the same order."""
        if self.size > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)

    def most(self, count: int, device: torch.device) -> int:
        """The largest count of all processes; `device`: where the team's messages lie, as its model does."""
        if self.size == 1:
            return count
        counts = torch.tensor([count], device=device)
        torch.distributed.all_reduce(counts, op=torch.distributed.ReduceOp.MAX)
        return int(counts)

    def meet(self) -> None:
        """Go on when every process has come here."""
        if self.size > 1:
            torch.distributed.barrier()


ALONE = Team()
"""One process, as on a laptop."""
