"""A killed evaluation continues with the batches that are missing and ends with the same trajectories."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import evaluation_records as made
import pytest

from components.evaluation.collect import Act, by_model, collect, missing_batches, save_batch, spread
from components.evaluation.policies import Play, plan, tools_of
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory

SOLVED = made.problems(10)


class Killed(BaseException):
    """Stands for SIGKILL."""


class Theatre:
    """Opens models that play made-up trajectories, remembers what was asked, and dies at a given batch."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.opened: list[str] = []
        self.played: list[tuple[str, int]] = []
        self.told: list[tuple[str, int, int]] = []
        self.dies_at = dies_at

    @contextlib.contextmanager
    def open_model(self, model: str) -> Iterator[Act]:
        self.opened.append(model)
        yield self.act

    @contextlib.contextmanager
    def open_searching(self, model: str) -> Iterator[Act]:
        """Plays a search, whatever is forced: the double knows no other tools."""
        yield lambda play, batch: made.trajectories(replace(play, force=("search",)), batch)

    def act(self, play: Play, batch: Sequence[Problem]) -> Sequence[Trajectory]:
        if len(self.played) == self.dies_at:
            raise Killed
        self.played.append((play.policy, len(batch)))
        return made.trajectories(play, batch)

    def tell(self, play: Play, done: int, total: int) -> None:
        self.told.append((play.policy, done, total))

    def collect(self, folder: Path) -> dict[str, tuple[Trajectory, ...]]:
        return collect(made.PLAN, SOLVED, lambda play: folder, batch_size=4, open_model=self.open_model, told=self.tell)


def test_every_policy_plays_every_problem_in_order(tmp_path: Path) -> None:
    theatre = Theatre()
    found = theatre.collect(tmp_path)
    assert list(found) == [play.policy for play in made.PLAN]
    for trajectories in found.values():
        assert [one.problem_id for one in trajectories] == [problem.problem_id for problem in SOLVED]
    assert theatre.opened == [
        "base",
        "final",
        "clone",
        "reinforced",
    ]  # the final model is loaded once for all its parts
    assert theatre.told[:3] == [("base", 4, 10), ("base", 8, 10), ("base", 10, 10)]
    assert list(dict.fromkeys(policy for policy, *_ in theatre.told)) == [one.policy for one in by_model(made.PLAN)]


def test_a_forced_tool_is_played_only_where_the_problem_offers_it(tmp_path: Path) -> None:
    problems = [replace(one, tool_names=("convert",) if i % 2 else ("search",)) for i, one in enumerate(SOLVED)]
    assert tools_of(problems) == ("search", "convert")
    plays = plan("clone", tools_of(problems), (0.3,))
    assert [play.policy for play in plays] == [
        "base",
        "never-call",
        "always-search",
        "always-convert",
        "clone",
        "clone told 0.3",
    ]
    theatre = Theatre()
    for tool in ("search", "convert"):
        (play,) = (one for one in plays if one.force == (tool,))
        found = collect(
            [play], problems, lambda play: tmp_path, batch_size=4, open_model=theatre.open_searching, told=theatre.tell
        )
        offered = [problem.problem_id for problem in problems if tool in problem.tool_names]
        assert [one.problem_id for one in found[play.policy]] == offered


def test_batches_played_elsewhere_are_what_an_evaluation_plays_itself(tmp_path: Path) -> None:
    problems = [replace(one, tool_names=("convert",) if i < 4 else ("search",)) for i, one in enumerate(SOLVED)]
    plays, theatre = plan("clone", ("search",)), Theatre()

    def played(folder: Path) -> dict[str, tuple[Trajectory, ...]]:
        return collect(
            plays, problems, lambda play: folder, batch_size=4, open_model=theatre.open_model, told=theatre.tell
        )

    def there(play: Play) -> Path:
        return tmp_path / "there"

    whole = played(tmp_path / "here")
    theatre.opened.clear()
    batches = missing_batches(plays, problems, there, batch_size=4)
    assert len(batches) == 3 * len(plays)
    assert [len(batch.problems) for batch in batches if batch.play.force == ("search",)] == [0, 4, 2]
    for batch in reversed(batches):
        save_batch(there, batch, made.trajectories(batch.play, batch.problems))
    assert missing_batches(plays, problems, there, batch_size=4) == ()
    assert played(tmp_path / "there") == whole
    assert theatre.opened == []


def test_a_killed_evaluation_continues_where_it_was(tmp_path: Path) -> None:
    whole = Theatre().collect(tmp_path / "whole")
    first = Theatre(dies_at=8)
    with pytest.raises(Killed):
        first.collect(tmp_path / "cut")
    second = Theatre()
    assert second.collect(tmp_path / "cut") == whole
    assert len(second.played) == 3 * len(made.PLAN) - 8
    assert "base" not in second.opened


def test_a_finished_evaluation_opens_no_model_again(tmp_path: Path) -> None:
    whole = Theatre().collect(tmp_path)
    again = Theatre()
    assert again.collect(tmp_path) == whole
    assert again.opened == []


def test_fewer_problems_are_spread_over_the_whole_split() -> None:
    assert spread(SOLVED, None) == SOLVED
    assert spread(SOLVED, 20) == SOLVED
    assert [problem.problem_id for problem in spread(SOLVED, 4)] == ["p0000", "p0002", "p0005", "p0007"]
