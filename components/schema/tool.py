"""A tool as the policy, the annotators and the checks see it. Takes nothing; gives `ToolSpec`. Does not run tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """Name and arguments of a tool."""

    name: str
    description: str
    """One sentence for people and for tool listings."""
    parameters: Mapping[str, Any]
    """JSON schema of the arguments object."""

    def signature(self) -> str:
        """`name(argument, ...)`, as it is shown in a prompt."""
        return f"{self.name}({', '.join(self.parameters.get('properties', {}))})"
