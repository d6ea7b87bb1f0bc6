"""The container images and the secrets of the compose file. Takes the project's paths; builds by a Docker engine.

What is in them is said by `infra/docker/`. Does not push or run anything.
"""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import docker
import yaml
from docker.errors import DockerException

from flows.shared.faults import UserFault
from flows.shared.paths import Paths

Variant = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Image:
    """One image of the project."""

    name: str
    file: str
    """Dockerfile, from the project's root."""
    target: str | None
    """Stage of it; the last one by default."""
    with_torch: bool
    """True when there is one image a variant."""


IMAGES = (
    Image("qanat-trainer", "infra/docker/Dockerfile", "trainer", with_torch=True),
    Image("qanat-server", "infra/docker/Dockerfile", "server", with_torch=True),
    Image("qanat-store", "infra/docker/store.Dockerfile", None, with_torch=False),
)


class BuildFailed(UserFault):
    """An image could not be built; the message is the engine's."""


def tag(paths: Paths, image: Image, variant: Variant) -> str:
    """Name and tag of an image: the project's version, and the variant where it is not the usual one."""
    version = tomllib.loads((paths.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return f"{image.name}:{version}{'-cuda' if image.with_torch and variant == 'cuda' else ''}"


def build(
    paths: Paths,
    names: tuple[str, ...],
    *,
    variant: Variant,
    arguments: Mapping[str, str],
    network: str | None = None,
    say: Callable[[str], None],
) -> None:
    """Build the images of these names (all without any), telling what the engine says and the size of each.

    `network`: the engine's, while it builds; its own choice by default.

    Raises:
        UserFault: no engine answers, a name is unknown, or this is a git worktree, whose history lies elsewhere.
        BuildFailed: a step failed.
    """
    wanted = [image for image in IMAGES if not names or image.name.removeprefix("qanat-") in names]
    if len(wanted) < len(names):
        known = ", ".join(image.name.removeprefix("qanat-") for image in IMAGES)
        raise UserFault(f"images: must be of {known}, are {', '.join(names)}")
    if not (paths.root / ".git").is_dir():
        raise UserFault(f"{paths.root} holds no git history to put into the image: build from the main checkout")
    client = _engine()
    for image in wanted:
        name = tag(paths, image, variant)
        given = {**({"VARIANT": variant} if image.with_torch else {}), **arguments}
        for line in _lines(client, paths, image, name, given, network):
            say(line)
        say(f"{name}: {client.images.get(name).attrs['Size'] / 1e9:.2f} GB")


def make_secrets(paths: Paths) -> list[str]:
    """A random file for every secret of the compose file that has none; the names of those that were made."""
    compose = paths.root / "infra" / "compose.yaml"
    made = []
    for name, one in yaml.safe_load(compose.read_text(encoding="utf-8"))["secrets"].items():
        file = compose.parent / one["file"]
        file.parent.mkdir(exist_ok=True)
        file.parent.chmod(0o700)
        if not file.exists():
            file.write_text(secrets.token_urlsafe(32), encoding="utf-8")
            file.chmod(0o444)  # read inside by the containers' user; outside the folder keeps everybody else away
            made.append(name)
    return made


def _engine() -> Any:
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        raise UserFault(f"no Docker engine answers (DOCKER_HOST names another one): {error}") from None
    return client


def _lines(
    client: Any, paths: Paths, image: Image, name: str, arguments: Mapping[str, str], network: str | None
) -> Iterator[str]:
    wanted = {"path": str(paths.root), "dockerfile": image.file, "target": image.target, "tag": name}
    for event in client.api.build(**wanted, buildargs=dict(arguments), network_mode=network, rm=True, decode=True):
        if "error" in event:
            raise BuildFailed(f"{name}: {event['error'].strip()}")
        yield from event.get("stream", "").rstrip().splitlines()
