"""The type of a Hugging Face causal language model. Takes nothing; gives an alias. Loads nothing."""

from __future__ import annotations

from typing import Any

CausalLM = Any
"""A `torch.nn.Module` with `config`, `model.layers`, `model.norm` and `get_output_embeddings()`. `nn.Module` types
every attribute as a tensor or a module, and transformers' own classes carry no usable types, so it is left open."""
