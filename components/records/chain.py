"""A chain of hashes over records: whoever edits, drops or reorders one later breaks it for all to see.

Takes the content of records in order; gives hashes, and the place where a chain breaks. It shows tampering to those
who know a later hash from elsewhere; it does not prevent it, and whoever can rewrite every record can make a new
chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from components.schema.identity import stable_hash

START = "0" * 64
"""What the first record follows."""


@dataclass(frozen=True, slots=True)
class Link:
    """One record of a chain."""

    number: int
    """Its place, from 1."""
    content: Mapping[str, Any]
    """JSON-able."""
    previous: str
    """Hash of the record before; `START` for the first."""
    hash: str


def link_hash(number: int, content: Mapping[str, Any], previous: str) -> str:
    """sha256 over place, content and the hash before."""
    return stable_hash([number, content, previous], length=64)


def chain_faults(links: Iterable[Link], *, end: str) -> tuple[str, ...]:
    """What is wrong, one sentence a fault; empty for a whole chain whose last hash is `end`."""
    faults: list[str] = []
    previous, place = START, 0
    for place, link in enumerate(links, start=1):
        if link.number != place:
            return (*faults, f"row {place} is missing: the next row is number {link.number}")
        if link.previous != previous:
            faults.append(f"row {place} does not follow row {place - 1}: the hash before it is another")
        if link_hash(link.number, link.content, link.previous) != link.hash:
            faults.append(f"row {place} was edited: its hash does not fit its content")
        previous = link.hash
    if previous != end:
        faults.append(f"the chain ends at row {place}, but its last hash is not the one on record: rows are missing")
    return tuple(faults)
