"""The jobs of a Docker work pool: containers of the trainer's image without rights, valid for Prefect's worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.templating import apply_values

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = json.loads((ROOT / "infra" / "docker" / "work-pool.json").read_text(encoding="utf-8"))
PROPERTIES = TEMPLATE["variables"]["properties"]


def _filled() -> dict[str, Any]:
    defaults = {name: one["default"] for name, one in PROPERTIES.items() if "default" in one}
    run = {"name": "retrain", "command": "prefect flow-run execute", "env": {"A": "b"}, "labels": {}}
    return dict(apply_values(TEMPLATE["job_configuration"], {**defaults, **run}))


def test_every_blank_of_the_job_has_a_variable() -> None:
    blanks = {value.strip("{} ") for value in TEMPLATE["job_configuration"].values() if "{{" in str(value)}
    assert blanks == PROPERTIES.keys()


def test_containers_have_no_rights_and_go_when_they_end() -> None:
    job = _filled()
    more = job["container_create_kwargs"]
    assert (job["privileged"], job["auto_remove"], more["init"]) == (False, True, True)
    assert (more["cap_drop"], more["security_opt"]) == (["ALL"], ["no-new-privileges"])
    assert job.get("network_mode") is None, "a network of this machine only where somebody asks for it"


def test_volumes_hold_what_the_images_user_may_write() -> None:
    dockerfile = (ROOT / "infra" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    made = dockerfile[dockerfile.index("install --directory") : dockerfile.index("COPY infra/docker/with-secrets")]
    for volume in PROPERTIES["volumes"]["default"]:
        name, _, place = volume.partition(":")
        assert name.startswith("qanat-")
        assert place in made.split()


def test_prefects_worker_takes_the_jobs() -> None:
    worker = pytest.importorskip(
        "prefect_docker.worker", reason="the extra `cluster` is not installed: `make test-cluster`"
    )
    assert PROPERTIES.keys() <= worker.DockerWorkerJobConfiguration.model_fields.keys()
    made = worker.DockerWorkerJobConfiguration(**_filled())
    assert made.image == PROPERTIES["image"]["default"]
    assert made.volumes == PROPERTIES["volumes"]["default"]
