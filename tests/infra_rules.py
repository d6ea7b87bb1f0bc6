"""Rules for images, compose files and pods that no schema knows. Takes what a file says; gives faults in sentences.

An image has a tag that stays, nobody is root, nothing is published but on loopback, whatever answers is asked whether
it is well, and secrets are files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SECRET_WORDS = ("PASSWORD", "SECRET", "TOKEN", "API_KEY", "PRIVATE_KEY")


def image_faults(image: str) -> Iterator[str]:
    """An image without a tag, or with one that moves."""
    if "@sha256:" in image:
        return
    name, _, tag = image.rpartition(":")
    if not name or "/" in tag or tag in ("latest", "stable", "main", "edge"):
        yield f"image {image}: no fixed tag"


def dockerfile_faults(text: str) -> list[str]:
    """What hadolint leaves to taste: the last stage's user and health check, and bases whose tag can be replaced."""
    faults = []
    stages = re.split(r"(?m)^FROM ", text)
    arguments = dict(re.findall(r"(?m)^ARG (\w+)=(\S+)$", stages[0]))
    names = {found.group(1) for found in re.finditer(r"(?m)^FROM \S+ AS (\S+)$", text)}
    for stage in stages[1:]:
        base, *_ = stage.split()
        if base in names:
            continue
        variable = re.fullmatch(r"\$\{(\w+)\}", base)
        if variable is None or variable.group(1) not in arguments:
            faults.append(f"base {base}: not an ARG before the first FROM")
        else:
            faults += image_faults(arguments[variable.group(1)])
    return faults


def target_faults(text: str, target: str) -> list[str]:
    """An image that would run as root, does not say whether it is well, or has no command."""
    stage = _stage(text, target)
    users = re.findall(r"(?m)^USER (\S+)$", stage)
    faults = [] if users and not users[-1].startswith(("0", "root")) else [f"{target}: runs as root"]
    if not re.search(r"(?m)^HEALTHCHECK (?!NONE)", stage):
        faults.append(f"{target}: no HEALTHCHECK")
    if not re.search(r"(?m)^CMD \[", stage):
        faults.append(f"{target}: no command")
    return faults


def _stage(text: str, target: str) -> str:
    parts = re.split(r"(?m)^(?=FROM )", text)[1:]
    named = [part for part in parts if re.match(rf"FROM \S+ AS {target}$", part.splitlines()[0])]
    return named[0] if named else parts[-1]


def compose_faults(compose: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with the services of a compose file."""
    return [f"{name}: {fault}" for name, one in compose["services"].items() for fault in _service_faults(one, compose)]


def _service_faults(service: Mapping[str, Any], compose: Mapping[str, Any]) -> Iterator[str]:
    yield from image_faults(service["image"])
    for port in service.get("ports", ()):
        if not str(port).startswith("127.0.0.1:"):
            yield f"port {port} is published beyond loopback"
    if "0.0.0.0" in " ".join(map(str, service.get("command", ()))) and not service.get("ports"):
        yield "listens on every interface, but publishes no port"
    if service.get("privileged") or service.get("network_mode") == "host" or service.get("pid") == "host":
        yield "has the rights of the host"
    if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "keeps capabilities or may gain some"
    if "healthcheck" not in service:
        yield "nobody knows whether it is well"
    if str(service.get("user", "")).split(":")[0] in ("0", "root"):
        yield "runs as root"
    for name in service.get("environment", {}):
        if any(word in name for word in SECRET_WORDS) and not name.endswith("_FILE"):
            yield f"{name} is a secret in the environment"
    for needed, how in service.get("depends_on", {}).items():
        if how.get("condition") != "service_healthy" or "test" not in compose["services"][needed].get(
            "healthcheck", {}
        ):
            yield f"does not wait until {needed} is well"
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        if not source.startswith("./") and source not in compose["volumes"]:
            yield f"volume {source} is not declared"
        if "docker.sock" in volume:
            yield "holds the engine's socket"
    for secret in service.get("secrets", ()):
        source = secret if isinstance(secret, str) else secret["source"]
        if source not in compose["secrets"]:
            yield f"secret {source} is not declared"


def pod_faults(pod: Mapping[str, Any], *, images: Sequence[str]) -> Iterator[str]:
    """What is wrong with a pod; `images` are set elsewhere and need no tag."""
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield "may run as root"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "may make any system call"
    if pod.get("automountServiceAccountToken") is not False and "serviceAccountName" not in pod:
        yield "holds a token of the cluster that it does not need"
    if pod.get("enableServiceLinks") is not False:
        yield "gets variables named after services, which MLflow and Prefect read as settings"
    if pod.get("hostNetwork") or pod.get("hostPID") or any("hostPath" in one for one in pod.get("volumes", ())):
        yield "has the rights of the host"
    mounted = {one["name"] for one in pod.get("volumes", ())}
    for container in pod["containers"]:
        yield from (f"{container['name']}: {fault}" for fault in _container_faults(container, mounted, images))


def _container_faults(container: Mapping[str, Any], mounted: set[str], images: Sequence[str]) -> Iterator[str]:
    if container["image"] not in images:
        yield from image_faults(container["image"])
    security, resources = container.get("securityContext", {}), container.get("resources", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities or may gain some"
    if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
        yield "does not say what it needs"
    for one in container.get("env", ()):
        if "value" in one and any(word in one["name"] for word in SECRET_WORDS) and not one["name"].endswith("_FILE"):
            yield f"{one['name']} is a secret in the environment"
    for one in container.get("volumeMounts", ()):
        if one["name"] not in mounted and one["name"] != "data":
            yield f"mounts {one['name']}, which the pod does not have"
