"""The compose file: valid under the specification, bound to loopback, without root, and started in order."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml
from infra_rules import compose_faults

INFRA = Path(__file__).resolve().parents[2] / "infra"
TEXT = (INFRA / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]


def _read(compose: dict[str, Any]) -> compose_spec.PyCompose:
    """As the specification reads it; merges (`<<`) are YAML's own and resolved before."""
    read = compose_spec.PyCompose.from_yaml(yaml.dump(compose, Dumper=_NoAnchors))
    read.validate()
    return read


class _NoAnchors(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def test_the_file_is_valid_under_the_specification() -> None:
    assert set(_read(COMPOSE).service_names()) == SERVICES.keys()


@pytest.mark.parametrize("key", ["helthcheck", "port", "depend_on"])
def test_a_key_that_the_specification_does_not_know_is_told(key: str) -> None:
    broken = copy.deepcopy(COMPOSE)
    broken["services"]["prefect"][key] = ["x"]
    with pytest.raises(ValueError, match=key):
        _read(broken)


def test_no_rule_is_broken() -> None:
    assert compose_faults(COMPOSE) == []


BREAKS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda one: one["ports"].append("4201:4201"), "beyond loopback"),
    (lambda one: one["ports"].append("0.0.0.0:4201:4201"), "beyond loopback"),
    (lambda one: one.pop("ports"), "publishes no port"),
    (lambda one: one.update(image="qanat-trainer:latest"), "no fixed tag"),
    (lambda one: one.update(user="0:0"), "root"),
    (lambda one: one.update(privileged=True), "host"),
    (lambda one: one.pop("cap_drop"), "capabilities"),
    (lambda one: one.pop("healthcheck"), "well"),
    (lambda one: one["environment"].update(PGPASSWORD="x"), "secret"),
    (lambda one: one["depends_on"]["postgres"].update(condition="service_started"), "wait"),
    (lambda one: one["volumes"].append("elsewhere:/x"), "not declared"),
    (lambda one: one["volumes"].append("/var/run/docker.sock:/s"), "socket"),
]


@pytest.mark.parametrize(("break_it", "fault"), BREAKS)
def test_a_broken_rule_is_told(break_it: Callable[[dict[str, Any]], Any], fault: str) -> None:
    broken = copy.deepcopy(COMPOSE)
    break_it(broken["services"]["prefect"])
    assert any(fault in one for one in compose_faults(broken))


def test_services_of_the_issue_are_all_there() -> None:
    assert {"postgres", "prefect", "worker", "mlflow", "server", "annotate", "store"} <= SERVICES.keys()


def test_the_start_has_an_order() -> None:
    left = {name: set(one.get("depends_on", ())) for name, one in SERVICES.items()}
    while left:
        ready = [name for name, needs in left.items() if not needs & left.keys()]
        assert ready, f"these wait for each other: {sorted(left)}"
        for name in ready:
            del left[name]


def test_every_name_that_is_asked_for_is_a_service_or_this_machine() -> None:
    asked = set(re.findall(r"(?:https?://|@)([a-z]+)[:/]", TEXT))
    assert asked <= SERVICES.keys(), asked


def test_the_check_of_a_service_asks_the_port_that_it_publishes() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", ()):
            assert f"127.0.0.1:{port.split(':')[-1]}/" in json.dumps(service["healthcheck"]), name


def test_every_database_that_is_named_is_made() -> None:
    made = set(re.findall(r"CREATE DATABASE (\w+);", (INFRA / "databases.sql").read_text()))
    assert set(re.findall(r"qanat@postgres/(\w+)", TEXT)) == made


def test_secrets_are_files_outside_git() -> None:
    files = [one["file"] for one in COMPOSE["secrets"].values()]
    assert all(file.startswith("./secrets/") for file in files)
    assert (INFRA / "secrets" / ".gitignore").read_text().splitlines()[-2:] == ["*", "!.gitignore"]
