"""Stored trajectories scored again under other prices and weights, without a model.

Takes files of trajectories and what is to be different; gives new files and lines for a person. Never writes over a
file: the name of the new one is made of what it was made from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.records.jsonl import read_records, write_records
from components.reward.rescore import Change, Rescored, compare, rescore
from components.reward.settings import RewardSettings
from components.schema.identity import stable_hash
from components.schema.trajectory import Trajectory
from components.tools.prices import PriceSheet
from components.tools.settings import PriceSettings, ToolPrice
from flows.shared.faults import UserFault
from flows.shared.params import load_params
from flows.shared.paths import Paths


class NothingToRescore(UserFault):
    """No stage has left trajectories yet."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be different from the parameter file."""

    money: tuple[str, ...] = ()
    """TOOL=PRICE a call."""
    seconds: tuple[str, ...] = ()
    """TOOL=SECONDS a call."""
    price: float | None = None
    """lambda."""
    params: Path | None = None
    """Another parameter file, whose sections `prices` and `reward` count."""


@dataclass(frozen=True, slots=True)
class Written:
    """One file scored again."""

    source: Path
    target: Path
    result: Rescored


def rescore_files(paths: Paths, files: Sequence[Path], wanted: Wanted) -> list[Written]:
    """Each file scored again; by default every file of trajectories that stages left."""
    params = load_params(paths, wanted.params)
    prices, reward = _prices(params.prices, wanted), _reward(params.reward, wanted)
    found = list(files) or [file for file in _stored(paths) if file.is_file()]
    if not found:
        raise NothingToRescore("no stage has left trajectories here yet: `qanat run` makes some, or name a file")
    return [_rescore_file(paths, file, prices, reward) for file in found]


def _stored(paths: Paths) -> tuple[Path, ...]:
    return paths.rollouts, paths.selfplay().trajectories, paths.evaluation_trajectories


def _rescore_file(paths: Paths, file: Path, prices: PriceSettings, reward: RewardSettings) -> Written:
    before = read_records(file, Trajectory)
    after = [rescore(one, prices=PriceSheet(prices), settings=reward) for one in before]
    made_of = [file.read_text(encoding="utf-8"), prices.model_dump(mode="json"), reward.model_dump(mode="json")]
    target = paths.rescored / f"{file.resolve().parent.name}-{file.stem}-{stable_hash(made_of)}.jsonl"
    if not target.exists():  # else it is this very file: rewards are a function of what its name is made of
        write_records(target, after)
    return Written(file, target, compare(before, after))


def _reward(reward: RewardSettings, wanted: Wanted) -> RewardSettings:
    if wanted.price is None:
        return reward
    return reward.model_copy(update={"price": _amount("--price", str(wanted.price), str(wanted.price))})


def _prices(prices: PriceSettings, wanted: Wanted) -> PriceSettings:
    tools = dict(prices.tools)
    for option, field, given in (("--money", "money", wanted.money), ("--seconds", "seconds", wanted.seconds)):
        for text in given:
            tool, _, number = text.partition("=")
            if tool not in tools:
                raise UserFault(f"{option}: no tool {tool!r} on the price sheet (it has {', '.join(tools)})")
            tools[tool] = ToolPrice.model_validate({**tools[tool].model_dump(), field: _amount(option, text, number)})
    return prices.model_copy(update={"tools": tools})


def _amount(option: str, text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < math.inf:
        raise UserFault(f"{option}: must be a number of at least 0 (for a tool: TOOL=NUMBER), is {text!r}")
    return value


def describe(written: Written) -> list[str]:
    """The table of one file for a person."""
    result = written.result
    header = f"{'':<12}{'before':>10}{'after':>10}{'changed':>9}{'unscored':>10}"
    lines = [f"{written.source}: {result.trajectories} trajectories", header, *map(_row, result.changes)]
    lines.append(f"{result.moved} trajectories changed rank within their {result.groups} groups")
    return [*lines, f"-> {written.target}"]


def _row(change: Change) -> str:
    before, after = ("-" if value is None else f"{value:.4f}" for value in (change.before, change.after))
    return f"{change.name:<12}{before:>10}{after:>10}{change.changed:>9}{change.unscored:>10}"
