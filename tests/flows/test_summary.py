"""What a person reads after a run is whole on a narrow terminal, too."""

from __future__ import annotations

from pathlib import Path

import evaluation_records as made
import pytest

from components.evaluation.report import terminal_table
from components.records.atomic import write_json
from components.records.codec import to_json
from flows.shared.paths import Paths
from flows.shared.summary import ONLY_WIDE, print_policies


@pytest.mark.parametrize("columns", [80, 120])
def test_every_shown_figure_is_whole(
    columns: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    paths, report = Paths(tmp_path), made.report()
    write_json(paths.evaluation_report, to_json(report))
    print_policies(paths)
    printed = capsys.readouterr().out.splitlines()
    assert max(map(len, printed)) <= columns
    header, *rows = terminal_table(report)
    for policy, accuracy, *others in rows:
        line = next(line for line in printed if line.split()[:1] == [policy])
        cells = [cell.partition(" [")[0] for cell in others]
        kept = [cell for name, cell in zip(header[2:], cells, strict=True) if columns > 100 or name not in ONLY_WIDE]
        assert line.split() == [policy, *accuracy.split(), *kept]
