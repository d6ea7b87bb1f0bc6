"""Settings of the policy. Takes params.yaml's `policy` section; gives a frozen, validated object. Loads nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class PolicySettings(BaseModel):
    """How the model is held and how much it does at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Literal["torch", "vllm"] = "torch"
    """What runs the model where it only acts (curation, self-play, evaluation, `qanat ask`): this process, or a vLLM
    server. Training has gradients and always runs in this process."""
    vllm_url: str | None = Field(default=None, validate_default=True)
    """Address of the vLLM server, without /v1."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Compute type of the forward pass; `auto` is bf16 where the device multiplies it natively, else fp32: a processor
    that must emulate bf16 is some fifteen times slower at it. Weights are kept in bf16 unless this is `float32`. A vLLM
    server has its own."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model computes; `auto` is a CUDA GPU where there is one."""
    slots: int = Field(default=128, ge=1, le=1024)
    """Sequences decoded side by side; their key-value cache takes about 23 kB a token (SmolLM2-135M in bf16). With 320
    an evaluation was a tenth faster and took 10 GB."""
    prefill_tokens: int = Field(default=6144, ge=64)
    """Most padded tokens in one forward; bounds peak memory."""
    kept_tokens: int = Field(default=32768, ge=0)
    """Most tokens of a search whose computation is kept beside the slots, at the same 23 kB a token."""
    threads: int = Field(default=2, ge=1)
    """Threads of the tensor library; part of what makes a run repeatable."""

    @field_validator("vllm_url")
    @classmethod
    def _only_http(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None and info.data.get("backend") == "vllm":
            raise ValueError("must be the server's address when policy.backend is vllm")
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return url
