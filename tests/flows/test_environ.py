"""What Qanat sets for the libraries it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import tiny_llama

from flows.shared.environ import sharded
from flows.shared.faults import UserFault

LOAD = "import flows, sys; from transformers import AutoModelForCausalLM as m; m.from_pretrained(sys.argv[1])"


def test_bars_of_libraries_do_not_stand_between_a_stages_lines(tmp_path: Path) -> None:
    tiny_llama(0).save_pretrained(str(tmp_path))
    env = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    command = [sys.executable, "-c", LOAD, str(tmp_path)]
    loaded = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert "%" not in loaded.stderr
    env["TQDM_DISABLE"] = ""
    wanted = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert "100%" in wanted.stderr, "what a person exported wins, and there is a bar to be kept out"


@pytest.mark.parametrize(("value", "expected"), [("", False), ("0", False), ("1", True)])
def test_weights_are_dealt_where_it_is_asked_for(value: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QANAT_SHARDED", value)
    assert sharded() is expected


def test_an_unknown_answer_to_sharded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QANAT_SHARDED", "yes")
    with pytest.raises(UserFault, match="QANAT_SHARDED: must be 0 or 1, is 'yes'"):
        sharded()
