"""Models on disk. Takes a folder (or a hub id); gives a policy, or a folder of safetensors. Verifies no weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from components.policy.backend import Backend
from components.policy.decision_head import read_decisions
from components.policy.llama import multiplies_bf16
from components.policy.model_type import CausalLM
from components.policy.policy import Policy
from components.policy.settings import PolicySettings
from components.policy.vllm_client import VllmClient
from components.policy.vllm_server import ServerFailed, served_models
from components.records.manifest import read_manifest


class NoDevice(OSError):  # noqa: N818 - says what is missing
    """The device that the settings name is not there."""


def device_of(settings: PolicySettings) -> torch.device:
    """Where the model is to compute.

    Raises:
        NoDevice: a GPU is asked for and none can be used.
    """
    found = torch.cuda.is_available()
    if settings.device == "cuda" and not found:
        raise NoDevice("policy.device is `cuda`, but PyTorch finds no CUDA device here: set it to `auto` or `cpu`")
    return torch.device("cuda" if found and settings.device != "cpu" else "cpu")


def compute_dtype(settings: PolicySettings) -> torch.dtype:
    """What the model computes in here."""
    if settings.dtype == "auto":
        return torch.bfloat16 if multiplies_bf16(device_of(settings)) else torch.float32
    return torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32


def kept_dtype(settings: PolicySettings) -> torch.dtype:
    """What weights are written in, wherever they were computed: a folder must not depend on the machine's kind."""
    return torch.float32 if settings.dtype == "float32" else torch.bfloat16


def load_model(folder: Path | str, settings: PolicySettings) -> tuple[CausalLM, Any]:
    """The Hugging Face module and its tokenizer. Attention is `eager`: it trains faster on CPUs (3.9 against 4.9 s)."""
    torch.set_num_threads(settings.threads)
    model = AutoModelForCausalLM.from_pretrained(
        str(folder), dtype=compute_dtype(settings), attn_implementation="eager", trust_remote_code=False
    )
    return model.to(device_of(settings)), AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)


def load_policy(folder: Path | str, settings: PolicySettings, *, policy_id: str | None = None) -> Policy:
    """The policy kept in `folder`, named `policy_id` (else the folder's name)."""
    model, tokenizer = load_model(folder, settings)
    policy = Policy(model, tokenizer, settings, policy_id=policy_id or Path(folder).name)
    policy.decision_head = read_decisions(Path(folder), features=int(model.config.hidden_size))
    return policy


def open_backend(folder: Path, settings: PolicySettings, *, policy_id: str | None = None) -> Backend:
    """The policy kept in `folder`, run by what the settings name: whoever only acts asks for it here.

    Raises:
        ServerFailed: no server can be asked, or none serves the weights of this folder.
        BadModelFolder: a server is asked for and the folder has no manifest to know its weights by.
    """
    if settings.backend == "torch":
        return load_policy(folder, settings, policy_id=policy_id)
    assert settings.vllm_url is not None, "the settings demand an address"
    name, served = served_name(folder), served_models(settings.vllm_url, timeout=10.0)
    if name not in served:
        raise ServerFailed(
            f"{settings.vllm_url} does not serve the weights in {folder} (it has: {', '.join(served) or 'none'}): "
            f"start `vllm serve {folder} --served-model-name {name}`"
        )
    return VllmClient(
        AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False),
        url=settings.vllm_url,
        model=name,
        vocabulary=int(AutoConfig.from_pretrained(str(folder), trust_remote_code=False).vocab_size),
        capacity=served[name],
        slots=settings.slots,
        policy_id=policy_id or folder.name,
    )


def served_name(folder: Path) -> str:
    """The name under which a server must serve the folder's weights: by their digest, so that old ones are noticed."""
    return f"qanat-{read_manifest(folder)['digest'][:12]}"


@torch.no_grad()
def round_weights(model: CausalLM, dtype: torch.dtype) -> None:
    """Every weight to its nearest value in `dtype`, in place and in its own type: what will be read of a folder."""
    for parameter in model.parameters():
        parameter.copy_(parameter.to(dtype))


def save_model(model: CausalLM, tokenizer: Any, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write weights (safetensors; in `dtype`, by default their own), configuration and tokenizer; the caller chooses
    the moment and the final name."""
    folder.mkdir(parents=True, exist_ok=True)
    if dtype is not None and any(parameter.dtype != dtype for parameter in model.parameters()):
        model = copy.deepcopy(model).to(dtype)
    model.save_pretrained(str(folder), safe_serialization=True)
    tokenizer.save_pretrained(str(folder))
