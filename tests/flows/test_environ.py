"""What Qanat sets for the libraries it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tiny_models import tiny_llama

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
