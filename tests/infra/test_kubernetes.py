"""Kubernetes: every manifest against the official schemas of the API, and the rules for pods.

Overlays are rendered by `kubectl kustomize` where there is one; without it the files are checked one by one.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from infra_rules import pod_faults

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra" / "kubernetes"
OVERLAYS = ("pvc", "s3", "gpu")
API = "1.31"
SET_BY_KUSTOMIZE = ("qanat-trainer", "qanat-server")
Manifest = dict[str, Any]


def _read(file: Path) -> list[Manifest]:
    return [one for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one]


BASE = [(file.name, one) for file in sorted((FOLDER / "base").glob("*.yaml")) for one in _read(file)]
OBJECTS = [(name, one) for name, one in BASE if one["kind"] != "Kustomization"]


@cache
def _rendered(overlay: str) -> tuple[Manifest, ...]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl to render overlays with")
    command = [kubectl, "kustomize", str(FOLDER / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def _pods(objects: Iterator[Manifest] | tuple[Manifest, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for one in objects:
        if one["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


def _complaint(one: Manifest) -> str | None:
    """What the official schema has against a manifest; None when it has nothing."""
    try:
        kubernetes_validate.validate(one, API, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("name", "one"), OBJECTS, ids=[f"{name}-{one['kind']}" for name, one in OBJECTS])
def test_manifest_is_valid_under_the_official_schema(name: str, one: Manifest) -> None:
    assert _complaint(one) is None


def test_a_manifest_with_a_misspelt_key_is_told() -> None:
    broken = copy.deepcopy(next(one for _, one in OBJECTS if one["kind"] == "Deployment"))
    broken["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    assert "imagePullPolice" in str(_complaint(broken))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_renders_to_valid_objects_without_faults(overlay: str) -> None:
    objects = _rendered(overlay)
    assert [complaint for one in objects if (complaint := _complaint(one))] == []
    faults = [f"{name}: {fault}" for name, pod in _pods(objects) for fault in pod_faults(pod, images=())]
    assert faults == []
    assert {one["metadata"].get("namespace", "qanat") for one in objects} == {"qanat"}


def test_base_has_no_faults() -> None:
    found = [
        f"{name}: {fault}"
        for name, pod in _pods(one for _, one in OBJECTS)
        for fault in pod_faults(pod, images=SET_BY_KUSTOMIZE)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("securityContext", {}, "root"),
        ("hostNetwork", True, "host"),
        ("automountServiceAccountToken", True, "token"),
        ("enableServiceLinks", True, "variables"),
        ("volumes", [], "mounts"),
        ("containers", [{"name": "x", "image": "x:latest"}], "no fixed tag"),
        ("containers", [{"name": "x", "image": "x:1"}], "needs"),
    ],
)
def test_a_pod_that_breaks_a_rule_is_told(key: str, value: Any, fault: str) -> None:
    pod = {**dict(_pods(one for _, one in OBJECTS))["mlflow"], key: value}
    assert any(fault in one for one in pod_faults(pod, images=SET_BY_KUSTOMIZE))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_a_pod_refers_to_exists(overlay: str) -> None:
    objects = _rendered(overlay)
    has = {(one["kind"], one["metadata"]["name"]) for one in objects} | {("Secret", "qanat")}
    for name, pod in _pods(objects):
        for volume in pod["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in has, name
            if "secret" in volume:
                assert ("Secret", volume["secret"]["secretName"]) in has, name
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in has, name
    targets = [one["spec"]["scaleTargetRef"] for one in objects if one["kind"] == "HorizontalPodAutoscaler"]
    assert targets
    assert all((one["kind"], one["name"]) in has for one in targets)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_reach_pods_at_a_port_they_listen_on(overlay: str) -> None:
    objects = _rendered(overlay)
    ports = {
        name: {p["containerPort"] for c in pod["containers"] for p in c.get("ports", ())}
        for name, pod in _pods(objects)
    }
    services = [one for one in objects if one["kind"] == "Service"]
    assert {"prefect", "mlflow", "postgres", "server", "annotate"} == {one["metadata"]["name"] for one in services}
    for one in services:
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports[one["spec"]["selector"]["app"]]
        assert one["spec"].get("type", "ClusterIP") == "ClusterIP"


def test_only_the_gpu_overlay_asks_for_gpus() -> None:
    asks = {overlay: "nvidia.com/gpu" in json.dumps([*_rendered(overlay)]) for overlay in OVERLAYS}
    assert asks == {"pvc": False, "s3": False, "gpu": True}


def test_databases_are_those_of_the_compose_file() -> None:
    made = next(one["data"]["databases.sql"] for _, one in OBJECTS if one["metadata"]["name"] == "databases")
    compose = (ROOT / "infra" / "databases.sql").read_text()
    assert re.findall("CREATE .*", made) == re.findall("CREATE .*", compose)


def test_tags_are_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    texts = [file.read_text() for file in (ROOT / "infra").rglob("*") if file.suffix in (".yaml", ".json")]
    found = {
        tag for text in texts for tag in re.findall(r"qanat-\w+:([\w.]+)|newTag: ([\w.]+)", text) for tag in tag if tag
    }
    assert found == {version}


@pytest.mark.parametrize("gpus", [0, 2])
def test_work_pool_gives_valid_jobs(gpus: int) -> None:
    manifest = _job({"gpus": gpus, "node_selector": {"nvidia.com/gpu.present": "true"} if gpus else {}})
    assert _complaint(manifest) is None
    pod = manifest["spec"]["template"]["spec"]
    assert list(pod_faults(pod, images=())) == []
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == gpus
    assert manifest["spec"]["backoffLimit"] == 0, "with retries of its own Kubernetes would run a flow twice"


def _job(values: Mapping[str, Any]) -> Manifest:
    """The job that Prefect's worker makes of the template, without a server."""
    from prefect.utilities.templating import apply_values

    worker = pytest.importorskip(
        "prefect_kubernetes.worker", reason="the extra `cluster` is not installed: `make test-cluster`"
    )

    template = json.loads((FOLDER / "work-pool.json").read_text(encoding="utf-8"))
    properties = template["variables"]["properties"]
    assert (
        {"name", "env", "labels", "command"}
        <= properties.keys()
        <= {*worker.KubernetesWorkerVariables.model_fields, "gpus", "node_selector"}
    )
    defaults = {name: one["default"] for name, one in properties.items() if "default" in one}
    run = {"name": "retrain", "command": "prefect flow-run execute", "env": {"A": "b"}, "labels": {}, "annotations": {}}
    filled = apply_values(template["job_configuration"], {**defaults, **run, **values})
    made = worker.KubernetesWorkerJobConfiguration(**filled)
    made._populate_image_if_not_present()
    manifest: Manifest = dict(made.job_manifest)
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": name, "value": value} for name, value in made.env.items()]
    container["args"] = made.command.split()
    return manifest


def test_ray_cluster_has_valid_pods_and_the_pinned_version() -> None:
    (cluster,) = _read(FOLDER / "ray" / "cluster.yaml")
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    for group in groups:
        template = {"metadata": {"name": "ray"}, **group["template"]}
        assert _complaint({"apiVersion": "v1", "kind": "Pod", **template}) is None
        assert list(pod_faults(group["template"]["spec"], images=())) == []
    pins = (ROOT / "constraints.txt").read_text()
    assert f"\nray=={cluster['spec']['rayVersion']}\n" in pins
    assert groups[0]["rayStartParams"]["include-dashboard"] == "false"
