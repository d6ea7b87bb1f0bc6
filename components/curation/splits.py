"""Splits and samples that stay put when rows are added. Takes groups and hashes; gives splits and subsets.

A problem's place depends on its own content alone, never on its neighbours: more rows move nothing between splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from components.schema.identity import stable_hash
from components.schema.problem import Problem, Split

_BOUNDS: tuple[tuple[float, Split], ...] = ((0.75, "train"), (0.82, "validation"), (1.0, "test"))


def fraction(*parts: str | int) -> float:
    """A number in [0, 1) that depends on `parts` only, the same on every machine."""
    return int(stable_hash(list(parts), length=12), 16) / 16**12


def split_of(group: str, seed: int) -> Split:
    """75 % train, 7 % validation, 18 % test, by group."""
    place = fraction("split", seed, group)
    return next(split for bound, split in _BOUNDS if place < bound)


def shares(total: int, weights: Mapping[str, float]) -> Mapping[str, int]:
    """`total` divided by weight, largest remainders first (each name gets at least one if its weight is positive)."""
    whole = sum(weights.values())
    exact = {name: total * weight / whole for name, weight in weights.items()}
    counts = {name: max(int(value), 1 if weights[name] > 0 else 0) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (counts[name] - exact[name], name))
    for name in by_remainder[: max(0, total - sum(counts.values()))]:
        counts[name] += 1
    return counts


def subsample(
    problems: Sequence[Problem], sizes: Mapping[Split, int], weights: Mapping[str, float]
) -> tuple[Problem, ...]:
    """Per split and family the first so many in hash order: a smaller sample is always part of a larger one."""
    chosen: list[Problem] = []
    for split, total in sizes.items():
        for family, count in shares(total, weights).items():
            chosen += _first(problem for problem in problems if (problem.split, problem.family) == (split, family))[
                :count
            ]
    return tuple(chosen)


def _first(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: stable_hash(["sample", problem.problem_id]))
