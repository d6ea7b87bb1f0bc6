"""README says what the result files say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from components.experiments.plan import Measured
from tests.benchmarks import harness
from tests.benchmarks.tables import BEGIN, END, main, rewritten, tables

ROOT = Path(__file__).parents[1]
ROW = {"measure": "speed", "value": 4.2, "low": 3.0, "high": 5.0, "unit": "x", "bar": ">= 4", "n": 5, "seeds": 1}


def test_the_measured_section_is_what_the_result_files_say() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert rewritten(readme, tables(ROOT)) == readme, "run `python -m tests.benchmarks.tables`"


def test_a_figure_that_misses_its_bar_is_told_as_missed(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"measure": "size", "value": 3.9}, ROW | {"measure": "unasked", "bar": None}]
    result = {"command": "measure it", "git_sha": "0123456789abcdef", "machine": "one", "rows": rows}
    (tmp_path / "tests/benchmarks/results").mkdir(parents=True)
    (tmp_path / "tests/benchmarks/results/one.json").write_text(json.dumps(result), encoding="utf-8")
    (tmp_path / "README.md").write_text(f"Before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    main([str(tmp_path)])
    written = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| speed | 4.2 x | 3 to 5 | >= 4 | met |" in written
    assert "| size | 3.9 x | 3 to 5 | >= 4 | **missed** |" in written
    assert "unasked" not in written
    assert written.startswith("Before\n")
    assert written.endswith(f"{END}\nafter\n")
    assert "old" not in written


def test_figures_of_several_runs_stand_under_the_command_that_measured_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    for argument, measures in (("first", ("speed", "size")), ("second", ("speed", "weight"))):
        monkeypatch.setattr(sys, "argv", ["-m", argument])
        harness.write("one", [Measured(**ROW | {"measure": measure}) for measure in measures], started=0.0)
    result = json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))
    assert [row["measure"] for row in result["rows"]] == ["size", "speed", "weight"]
    assert [(run["command"].split()[-1], run["measures"]) for run in result["runs"]] == [
        ("first", ["size"]),
        ("second", ["speed", "weight"]),
    ]


def test_a_readme_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the two marks"):
        rewritten("no marks", "")
