"""`qanat rescore`, as a person runs it: new files, never over old ones, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from doubles import FakeToolbox, make_problem
from tiny_models import tiny_policy

from components.records.jsonl import read_records, write_records
from components.reward.settings import RewardSettings
from components.rollout.groups import Collector, GroupSettings
from components.schema.problem import Reference
from components.schema.trajectory import Trajectory
from components.tools.prices import PriceSheet
from flows.cli import main
from flows.shared.paths import Paths

GROUPS = GroupSettings(("fact",), ("fact",), batch=1, samples=2, temperature=1.0, max_tokens=24, price_warmup_steps=0)
PARAMS = "profile: demo\nreward: {price: 0.1}\n"


@pytest.fixture(scope="module")
def judged() -> list[Trajectory]:
    """What the stage stores: all decisions at two roots, played by a policy and scored."""

    def score_reference(items: Sequence[tuple[str, Sequence[str], Reference]]) -> list[float]:
        return [-0.5 if responses else -2.0 for _, responses, _ in items]

    problems = tuple(make_problem(f"{text}?", max_calls=2) for text in ("Why", "2+2"))
    toolbox, prices = FakeToolbox(), PriceSheet()
    collector = Collector(tiny_policy(), toolbox, problems, score_reference, prices, RewardSettings(), GROUPS, seed=5)  # type: ignore[arg-type]
    return [trajectory for group in collector.decisions(2, at_once=2) for trajectory in group.trajectories]


@pytest.fixture
def paths(tmp_path: Path, judged: list[Trajectory], monkeypatch: pytest.MonkeyPatch) -> Paths:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    paths = Paths(tmp_path)
    paths.params.write_text(PARAMS)
    write_records(paths.rollouts, judged)
    monkeypatch.chdir(tmp_path)
    return paths


def _rescored(paths: Paths) -> list[Path]:
    return sorted(paths.rescored.glob("*.jsonl"))


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["rescore", *arguments])
    return int(str(caught.value.code or 0))


def test_the_same_prices_reproduce_the_stored_rewards_exactly(
    paths: Paths, judged: list[Trajectory], capsys: pytest.CaptureFixture[str]
) -> None:
    before = paths.rollouts.read_bytes()
    assert _run() == 0
    (file,) = _rescored(paths)
    assert file.read_bytes() == before == paths.rollouts.read_bytes()
    assert read_records(file, Trajectory) == tuple(judged)
    assert "0 trajectories changed rank within their 2 groups" in capsys.readouterr().out


def test_another_price_changes_money_only_and_makes_another_file(
    paths: Paths, judged: list[Trajectory], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run() == _run("--money", "search=0.02") == _run("--money", "search=0.02") == 0
    assert len(_rescored(paths)) == 2
    capsys.readouterr()
    _run("--money", "search=0.02")
    rows = {
        line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if len(line.split()) == 5
    }
    called = sum(t.action.decision == "search" and bool(t.results) for one in judged for t in one.transitions)
    assert called
    assert {name for name, cells in rows.items() if cells[2] != "0"} == {"total", "money"}
    assert rows["preference"] == ["-", "-", "0", str(len(judged))]


def test_seconds_lambda_and_a_file_of_parameters_count(paths: Paths, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(
        "reward: {price: 0.5}\nprices:\n  tools:\n"
        "    search: {money: 0.002, seconds: 4}\n    python: {money: 0.0002, seconds: 0.2}\n"
    )
    assert _run("--price", "0.5", "--seconds", "search=4") == 0
    (first,) = _rescored(paths)
    assert _run("--params", str(other)) == 0
    assert _rescored(paths) == [first]
    assert _run(str(paths.rollouts), "--price", "0") == 0
    assert len(_rescored(paths)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--money", "serch=1"), "qanat: --money: no tool 'serch' on the price sheet (it has search, python)"),
        (("--seconds", "python=x"), "qanat: --seconds: must be a number of at least 0 (for a tool: TOOL=NUMBER), is"),
        (("--price", "-1"), "qanat: --price: must be a number of at least 0"),
        (("--params", "none.yaml"), "qanat: none.yaml: no such file in"),
        (("bad.jsonl",), "qanat: bad.jsonl:1 trajectory_id: is missing"),
    ],
)
def test_a_fault_is_one_line_that_names_it(
    paths: Paths, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (paths.root / "bad.jsonl").write_text("{}\n")
    assert _run(*arguments) == 1
    assert capsys.readouterr().err.startswith(message)
    assert not _rescored(paths)


def test_without_stored_trajectories_it_says_what_makes_some(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    paths.rollouts.unlink()
    assert _run() == 1
    assert "`qanat run` makes some" in capsys.readouterr().err


def test_a_fault_in_another_file_of_parameters_names_that_file(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    (paths.root / "other.yaml").write_text("reward: {prize: 1}\n")
    assert _run("--params", "other.yaml") == 1
    assert capsys.readouterr().err.startswith("qanat: other.yaml: reward.prize: unknown key (did you mean 'price'?)")
