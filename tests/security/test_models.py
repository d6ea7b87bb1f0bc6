"""Models are data: no code of theirs runs, and none is loaded before its files were seen to be whole."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

from components.policy.base_model import BadBaseModel, export_base
from components.policy.settings import PolicySettings

ROOT = Path(__file__).resolve().parents[2]
CODE = sorted([*ROOT.glob("flows/**/*.py"), *ROOT.glob("components/**/*.py")])
LOADERS = {"load_policy", "load_model", "open_backend", "open_actor", "open_player", "open_act", "load_trainable"}
HELPERS = {"acting.py", "playing.py", "searching.py", "training.py", "contrasted.py", "load.py", "direct.py"}
"""Files that load for others; whoever calls them has verified the folder."""
VERIFIERS = {"verify_manifest", "fetched"}
"""`fetched` gives a copy that it has verified."""
_IMPORT = re.compile(r"^\s*(?:import|from)\s+(\w+)", re.MULTILINE)
UNSAFE = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


def test_no_loader_of_transformers_may_run_a_models_code() -> None:
    calls = [(path, call) for path in CODE for call in _calls(path, "from_pretrained")]
    assert len(calls) >= 6
    for path, call in calls:
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert given.get("trust_remote_code") == "False", f"{path}:{call.lineno}"


def test_a_model_that_needs_code_of_its_own_is_refused_and_the_code_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    (tmp_path / "modeling_evil.py").write_text(f"open({str(made)!r}, 'w')\n")
    auto = {"AutoConfig": "modeling_evil.C", "AutoModelForCausalLM": "modeling_evil.M"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": auto}))
    with pytest.raises(BadBaseModel, match="cannot be loaded"):
        export_base(str(tmp_path), tmp_path / "out", PolicySettings())
    assert not made.exists()


def test_whoever_loads_a_model_verifies_its_manifest() -> None:
    loading = [path for path in CODE if path.name not in HELPERS and any(_calls(path, name) for name in LOADERS)]
    assert {path.name for path in loading} >= {"champion.py", "evaluate.py", "selfplay.py", "clone.py", "ask.py"}
    assert [path.name for path in loading if not any(_calls(path, name) for name in VERIFIERS)] == []


def test_nothing_is_read_by_a_format_that_can_hold_code() -> None:
    for path in CODE:
        assert not UNSAFE & set(_IMPORT.findall(path.read_text(encoding="utf-8"))), path
        for call in _calls(path, "load"):
            assert ast.unparse(call.func) not in ("torch.load", "yaml.load", "np.load", "numpy.load"), path


@cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def _calls(path: Path, name: str) -> list[ast.Call]:
    """Calls of a function or method of that name."""
    if f"{name}(" not in path.read_text(encoding="utf-8"):
        return []
    found = [node for node in _nodes(path) if isinstance(node, ast.Call)]
    return [call for call in found if name in (getattr(call.func, "attr", None), getattr(call.func, "id", None))]
