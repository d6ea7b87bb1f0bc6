"""Models and GPUs by name, with the published figures that a prediction needs. Takes and computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelSize:
    """A causal LM as memory and arithmetic see it."""

    parameters: float
    layers: int
    kv_heads: int
    head_size: int

    @property
    def kv_bytes(self) -> int:
        """Key-value cache of one token in bf16: key and value, of every layer and key head, two bytes each."""
        return 2 * self.layers * self.kv_heads * self.head_size * 2


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind of GPU."""

    flops: float
    """Dense bf16 operations a second, of the data sheet."""
    memory: float
    """Bytes."""
    price: float
    """Money an hour; a cloud's list price on demand in 2025, in dollars: look up your own."""


MODELS: Mapping[str, ModelSize] = {
    "135m": ModelSize(134.5e6, 30, 3, 64),  # SmolLM2
    "360m": ModelSize(361.8e6, 32, 5, 64),  # SmolLM2
    "1.5b": ModelSize(1.54e9, 28, 2, 128),  # Qwen2.5
    "7b": ModelSize(7.62e9, 28, 4, 128),  # Qwen2.5
    "32b": ModelSize(32.8e9, 64, 8, 128),  # Qwen2.5
}
GPUS: Mapping[str, Gpu] = {
    "h100": Gpu(989e12, 80e9, 4.0),
    "a100": Gpu(312e12, 80e9, 2.5),
    "l4": Gpu(121e12, 24e9, 0.8),
}
EFFICIENCY = 0.2
"""Share of a GPU's rate against the measured machine's that a stage turns into speed: an assumption, not measured.
Decoding waits for memory, so it is far below the 0.4 to 0.5 that training large batches reaches."""
