"""README's section "Measured", made from the result files: `python -m tests.benchmarks.tables` (DESIGN 8).

Takes results of benchmarks and experiments; rewrites what stands between the two marks. Measures nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.experiments.picture import meets
from components.experiments.plan import Measured
from components.records.atomic import write_text

ROOT = Path(__file__).parents[2]
FOLDERS = ("data/reports/experiments", "tests/benchmarks/results")
BEGIN, END = "<!-- measured: written by `python -m tests.benchmarks.tables` -->", "<!-- end of measured -->"


def tables(root: Path) -> str:
    """Every result as tables, one a run: figures that a bar was asked for, or all where none was."""
    files = [file for folder in FOLDERS for file in sorted((root / folder).glob("*.json"))]
    return "\n".join(line for file in files for line in _table(json.loads(file.read_text(encoding="utf-8"))))


def _table(result: dict[str, Any]) -> Iterator[str]:
    rows = [Measured(**row) for row in result["rows"]]
    asked = any(row.bar is not None for row in rows)
    for run in result.get("runs") or [{**result, "measures": [row.measure for row in rows]}]:
        mine = [row for row in rows if row.measure in run["measures"] and (row.bar is not None or not asked)]
        if mine:
            yield f"`{run['command']}` at {run['git_sha'][:12]}, {run['machine']}:"
            yield ""
            yield "| measure | figure | low to high | asked for | |"
            yield "|---|---|---|---|---|"
            yield from (_line(row) for row in mine)
            yield ""


def _line(row: Measured) -> str:
    figure = f"{row.value:.3g} {row.unit}".strip()
    span = "" if row.low == row.value == row.high else f"{row.low:.3g} to {row.high:.3g}"
    return f"| {row.measure} | {figure} | {span} | {row.bar or ''} | {_verdict(row)} |"


def _verdict(row: Measured) -> str:
    if row.bar is None:
        return ""
    return "met" if meets(row) else "**missed**"


def rewritten(readme: str, measured: str) -> str:
    """README with `measured` between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md needs the two marks {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{measured}\n{END}{after}"


def main(words: Sequence[str]) -> None:
    """Rewrite README.md of the project, or of the folder given."""
    root = Path(words[0]) if words else ROOT
    readme = root / "README.md"
    write_text(readme, rewritten(readme.read_text(encoding="utf-8"), tables(root)))


if __name__ == "__main__":
    main(sys.argv[1:])
