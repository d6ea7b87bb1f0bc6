"""The prediction: stage by stage on the hardware named, and what saturates first.

Takes unit costs, the work of each stage and the hardware; gives seconds, bytes and money. Left out: the network, queues
at tools, stages that run side by side, and every cost of a batch that no longer fits a cache. What is assumed and not
measured is a field of `Hardware` or a constant of the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.capacity.catalogue import EFFICIENCY, Gpu, ModelSize
from components.capacity.costs import UnitCost

SPREAD = frozenset({"selfplay", "evaluate"})
"""Stages whose shards a crew of workers takes; the others run in one process."""
MODEL_FREE = frozenset({"base", "corpus"})
"""Stages whose seconds do not grow with the model."""
MODEL_STORED = frozenset({"base", "clone", "reinforce", "distil"})
"""Stages whose outputs are weights, so that their bytes grow with the model."""
TRAINED_BYTES = 14
"""Of a trained parameter: gradient in bf16, master weight and two moments in fp32 (training/optimiser.py)."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the retrain is to run on."""

    gpus: int
    """0: one machine like the measured one."""
    gpu: Gpu
    machine_flops: float
    """Matrix rate of the machine that the unit costs were measured on, operations a second."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the retrain is to do."""

    work: Mapping[str, float]
    """By stage, in the units of the costs."""
    model: ModelSize
    measured_parameters: float
    """Of the model that the unit costs were measured with."""
    trained_share: float
    """Share of the parameters that learn."""
    slots: int
    """Sequences decoded side by side."""
    context_tokens: int


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What one stage will take."""

    stage: str
    seconds: float
    workers: int
    """Processes that share it."""
    stored: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What the retrain will take."""

    stages: tuple[StagePlan, ...]
    memory: float
    """Bytes that a training process needs on its GPU."""
    money: float
    """For the GPUs, all of them held from the first stage to the last."""
    saturates: str
    """What to look at first, in a sentence."""

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.stages)

    @property
    def stored(self) -> float:
        return sum(one.stored for one in self.stages)


def predict(costs: Mapping[str, UnitCost], asked: Asked, hardware: Hardware) -> Plan:
    """The plan; stages in the order of `costs`."""
    larger = asked.model.parameters / asked.measured_parameters
    faster = max(1.0, EFFICIENCY * hardware.gpu.flops / hardware.machine_flops) if hardware.gpus else 1.0
    stages = []
    for stage, cost in costs.items():
        work, workers = asked.work[stage], max(1, hardware.gpus) if stage in SPREAD else 1
        scale = 1.0 if stage in MODEL_FREE else larger / faster
        stored = cost.fixed_bytes * (larger if stage in MODEL_STORED else 1.0) + cost.unit_bytes * work
        stages.append(StagePlan(stage, cost.seconds(work * scale / workers), workers, stored))
    memory, plans = training_bytes(asked), tuple(stages)
    hours = sum(one.seconds for one in plans) / 3600
    return Plan(plans, memory, hours * hardware.gpus * hardware.gpu.price, _saturates(plans, memory, hardware))


def training_bytes(asked: Asked) -> float:
    """Weights in bf16 of the policy and of the frozen scorer, what its trained share needs, and the decoder's cache."""
    weights = asked.model.parameters * (2 + 2 + TRAINED_BYTES * asked.trained_share)
    return weights + asked.model.kv_bytes * asked.slots * asked.context_tokens


def _saturates(stages: tuple[StagePlan, ...], memory: float, hardware: Hardware) -> str:
    if hardware.gpus and memory > hardware.gpu.memory:
        return (
            f"memory of a GPU: training needs {memory / 1e9:.0f} GB of {hardware.gpu.memory / 1e9:.0f} GB; "
            "fewer slots, lora_rank, or weights that are sharded"
        )
    longest = max(stages, key=lambda one: one.seconds)
    share = longest.seconds / sum(one.seconds for one in stages)
    if longest.stage in SPREAD:
        return f"processors in {longest.stage} ({share:.0%} of the time): more of them shorten it"
    return f"one process in {longest.stage} ({share:.0%} of the time): more GPUs do not shorten it"
