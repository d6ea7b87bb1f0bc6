"""Whether anything is to be done is seen without loading what would do it."""

from __future__ import annotations

import ast

from import_closure import ROOT, import_closure


def test_looking_whether_anything_changed_loads_neither_mlflow_nor_what_trains() -> None:
    loaded = import_closure("flows.shared.unchanged")
    assert "flows/shared/decisions.py" in loaded
    assert not {"flows/shared/registry.py", "flows/shared/promotion.py", "flows/retrain.py"} & loaded
    assert not [file for file in loaded if file.startswith(("components/policy", "components/training"))]


def test_a_deployed_run_loads_what_works_only_when_there_is_work() -> None:
    assert not {"flows/shared/registry.py", "flows/shared/promotion.py"} & _at_the_top("flows/deployed.py")


def _at_the_top(file: str) -> set[str]:
    """Files that importing `file` imports at once: lines inside its functions do not count."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    named = [str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {found for name in named if name.startswith("flows.") for found in import_closure(name)}
