"""Identity by content. Takes JSON-able values; gives stable hashes and child seeds. Does not touch files."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def stable_hash(value: Any, *, length: int = 16) -> str:
    """First `length` hex digits of sha256 over canonical JSON of `value` (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:length]


def child_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed derived from the run's seed and names (problem, sample index), the same on every machine."""
    return int(stable_hash([seed, *parts], length=16), 16) & (2**63 - 1)
