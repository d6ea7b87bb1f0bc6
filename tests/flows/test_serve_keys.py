"""Keys of the model server: where they come from, and that a server which others can reach has some."""

from __future__ import annotations

import pytest

from components.serving.settings import ServeSettings
from flows.serve import read_keys
from flows.shared.faults import UserFault
from flows.shared.operations import load_operations
from flows.shared.params import BadParams
from flows.shared.paths import Paths


def test_keys_come_from_a_file_and_the_environment(project: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServeSettings(keys_file="keys.txt", keys_variable="SERVER_KEYS")
    with pytest.raises(UserFault, match=r"serve\.keys_file keys\.txt: holds no keys"):
        read_keys(project, settings)
    (project.root / "keys.txt").write_text("# ours\nk1\n\n")
    with pytest.raises(UserFault, match=r"serve\.keys_variable SERVER_KEYS"):
        read_keys(project, settings)
    monkeypatch.setenv("SERVER_KEYS", "k2, k3")
    assert read_keys(project, settings) == ("k1", "k2", "k3")


def test_a_server_that_others_can_reach_has_keys(project: Paths) -> None:
    project.operations.parent.mkdir()
    project.operations.write_text("serve: {host: 0.0.0.0}\n")
    with pytest.raises(BadParams, match="can be reached by others"):
        load_operations(project)
