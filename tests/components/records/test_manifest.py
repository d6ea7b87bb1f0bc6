"""A model folder proves that it is whole, or says which file is not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from doubles import write_safetensors

from components.records.manifest import BadModelFolder, check_model_folder, verify_manifest, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "final"
    root.mkdir()
    (root / "config.json").write_text("{}")
    write_safetensors(root / "model.safetensors")
    return root


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_whole_folder_has_the_digest_it_was_written_with(folder: Path) -> None:
    digest = write_manifest(folder)
    assert verify_manifest(folder) == digest == write_manifest(folder)
    check_model_folder(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors is missing"),
        (lambda f: truncate(f / "model.safetensors"), r"model\.safetensors is truncated: \d+ of \d+ bytes"),
        (lambda f: flip(f / "model.safetensors"), r"model\.safetensors was changed after the model was written"),
        (lambda f: (f / "extra.safetensors").touch(), r"extra\.safetensors is not listed"),
        (lambda f: (f / "MANIFEST.json").unlink(), r"MANIFEST\.json is missing"),
        (lambda f: (f / "MANIFEST.json").write_text("{"), r"MANIFEST\.json is damaged"),
        (lambda f: (f / "MANIFEST.json").write_text('{"files": {"../x": {}}, "digest": ""}'), "is damaged"),
        (
            lambda f: (f / "MANIFEST.json").write_text(
                '{"files": {"../config.json": {"sha256": "", "bytes": 2}}, "digest": ""}'
            ),
            "outside the folder",
        ),
    ],
)
def test_every_damage_is_named(folder: Path, damage: Callable[[Path], object], message: str) -> None:
    write_manifest(folder)
    damage(folder)
    with pytest.raises(BadModelFolder, match=message):
        verify_manifest(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors is missing: the model has no weights"),
        (lambda f: truncate(f / "model.safetensors"), r"model\.safetensors is truncated: \d+ of \d+ bytes"),
        (lambda f: (f / "model.safetensors").write_bytes(b"abc"), "truncated or not a safetensors file"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100), "truncated or not a safetensors file"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"[]"), "header cannot be read"),
        (lambda f: (f / "config.json").unlink(), r"config\.json is missing"),
    ],
)
def test_loading_can_be_refused_in_one_readable_line(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(BadModelFolder, match=message) as caught:
        check_model_folder(folder)
    assert "\n" not in str(caught.value)


def test_a_real_safetensors_file_passes_and_its_shards_are_checked(folder: Path) -> None:
    import json

    import numpy
    from safetensors.numpy import save_file

    save_file({"a": numpy.zeros(3, dtype=numpy.float32)}, folder / "part-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "part-1.safetensors"}}))
    check_model_folder(folder)
    truncate(folder / "part-1.safetensors")
    with pytest.raises(BadModelFolder, match=r"part-1\.safetensors is truncated"):
        check_model_folder(folder)
