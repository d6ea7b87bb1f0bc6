"""Weights dealt to the processes of a team: each keeps its share of every weight, gradient and moment (FSDP).

Takes a model that several processes train, each block a unit; while it is sharded a block's weights are whole only as
long as it computes (Zhao et al. 2023, by torch's `fully_shard`). In the end every process has the plain model again.
Knows no loss and no optimiser. The embedding, the head and the final norm are one unit, whole from forward to backward.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from components.policy.model_type import CausalLM
from components.training.forward import BLOCK, WHOLE, read_block, read_forest
from components.training.shares import whole_tensor
from components.training.team import Team


@contextlib.contextmanager
def sharded(model: CausalLM, team: Team) -> Iterator[None]:
    """The model in shares for the time of a `with`, if the team works so; what learns must have been marked before.

    After a failure the model is left as it is: the other processes may be gone, and gathering needs them all.
    """
    if not team.sharded:
        yield
        return
    _shard(model, team)
    yield
    _gather(model)


def _shard(model: CausalLM, team: Team) -> None:
    mesh = init_device_mesh(next(model.parameters()).device.type, (team.size,))
    policy = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    for block in model.model.layers:
        _shard_unit(block, BLOCK, MethodType(read_block, block), mesh, policy)
    _shard_unit(model, WHOLE, MethodType(read_forest, model), mesh, policy)


def _shard_unit(
    module: nn.Module, name: str, method: MethodType, mesh: DeviceMesh, policy: MixedPrecisionPolicy
) -> None:
    """`method` is the trainers' own forward, so it is what the weights must be whole for."""
    setattr(module, name, method)
    fully_shard(module, mesh=mesh, mp_policy=policy)
    register_fsdp_forward_method(module, name)


def _gather(model: CausalLM) -> None:
    plain: dict[nn.Parameter, nn.Parameter] = {}
    units = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for unit in units:
        unit.reshard()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if parameter not in plain:  # tied weights stay tied
                whole = whole_tensor(parameter.detach())
                plain[parameter] = nn.Parameter(whole, requires_grad=parameter.requires_grad)
            setattr(module, name, plain[parameter])
    for unit, name in zip(units, [WHOLE, *[BLOCK] * (len(units) - 1)], strict=True):
        _forget(unit, name)


def _forget(unit: Any, name: str) -> None:
    """Make the plain module again that `fully_shard` found."""
    delattr(unit, name)
    for hooks in (unit._forward_pre_hooks, unit._forward_hooks, unit._state_dict_pre_hooks,
                  unit._load_state_dict_pre_hooks):  # fmt: skip
        hooks.clear()
    unit.__class__ = type(unit).__bases__[1]
