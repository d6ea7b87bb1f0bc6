"""Tensors of which every process of a team keeps a share. Takes and gives tensors; plain ones are left as they are."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor that may be in shares; every process of its team must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def dealt_like(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor`, which every process has whole, on the device of `like` and in shares as that is."""
    moved = tensor.to(like.device)
    return distribute_tensor(moved, like.device_mesh, like.placements) if isinstance(like, DTensor) else moved
