"""Models that follow a price told to them: which prices they know, and problems that tell one.

Takes problems and the prices (lambda, what one unit of cost takes from one correct answer) that a model was trained to
follow, kept as `prices.json` beside its weights; gives the problems as that model is to be asked. The price is part of
the prompt, so that one set of weights walks along the frontier of accuracy and cost, under every backend. A model knows
its own levels and nothing between them: it is told the nearest. Trains nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from components.records.manifest import BadModelFolder
from components.schema.identity import child_seed
from components.schema.problem import Problem

PRICES = "prices.json"
"""File beside the weights; the manifest lists it like every other."""

Levels = Sequence[float]
"""Prices that a model was trained to follow, ascending; none for a model that is told nothing."""


class FollowsNoPrice(ValueError):  # noqa: N818 - says what is wrong
    """A price was given to a model that was not trained to follow one, or it is no price at all."""


def write_levels(folder: Path, levels: Levels) -> None:
    """Put the levels beside the model; nothing when there are none. The manifest is written afterwards."""
    if levels:
        (folder / PRICES).write_text(json.dumps({"prices": list(levels)}) + "\n", encoding="utf-8")


def read_levels(folder: Path) -> tuple[float, ...]:
    """The levels beside the model; none when it follows no price.

    Raises:
        BadModelFolder: the file is not what `write_levels` wrote.
    """
    file = folder / PRICES
    if not file.is_file():
        return ()
    try:
        levels = tuple(float(level) for level in json.loads(file.read_bytes())["prices"])
    except (ValueError, KeyError, TypeError):
        raise BadModelFolder(f"{file} is damaged: it must hold a list `prices` of numbers") from None
    return levels


def at_price(problem: Problem, price: float | None, levels: Levels, *, usual: float) -> Problem:
    """The problem as a model with these levels is to be asked it under `price`, or under the `usual` one when None.

    Raises:
        FollowsNoPrice: a price is given and the model has no levels, or the price is negative or not finite.
    """
    if price is not None and (not math.isfinite(price) or price < 0):
        raise FollowsNoPrice(f"a price must be a number >= 0, is {price:g}")
    if not levels:
        if price is not None:
            raise FollowsNoPrice(
                "this model follows no price: set `price_conditioned` in section reinforce of params.yaml, then `qanat "
                "run`"
            )
        return problem
    wanted = usual if price is None else price
    return replace(problem, price=min(levels, key=lambda level: abs(level - wanted)))


def spread_prices(problems: Sequence[Problem], levels: Levels) -> tuple[Problem, ...]:
    """Each problem under one of the levels, always the same one, about evenly many under each; as they are without."""
    if not levels:
        return tuple(problems)
    return tuple(replace(one, price=levels[child_seed(0, "price", one.problem_id) % len(levels)]) for one in problems)
