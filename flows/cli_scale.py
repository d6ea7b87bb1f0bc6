"""The commands for more than one machine: images, stores, plan. Takes arguments; prints for a person."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from flows.shared.terminal import here, say

images_app = typer.Typer(no_args_is_help=True, help="Container images, and the secrets of the compose file.")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(images_app, name="images")
    app.command()(stores)
    app.command()(plan)


@images_app.command("build")
def build_images(
    names: Annotated[list[str] | None, typer.Argument(help="trainer, server, store; all by default.")] = None,
    variant: Annotated[Literal["cpu", "cuda"], typer.Option(help="Which PyTorch goes in.")] = "cpu",
    torch_index: Annotated[str, typer.Option(help="Package index that has that PyTorch; pip's own by default.")] = "",
    base: Annotated[str | None, typer.Option(help="Image with Python 3.11 to build on.")] = None,
    network: Annotated[str | None, typer.Option(help="The engine's network for the build, e.g. host.")] = None,
) -> None:
    """Build the images by a Docker engine and say how large they are."""
    from flows.images import build

    arguments = {
        **({"TORCH_INDEX": torch_index} if torch_index else {}),
        **({"PYTHON_IMAGE": base} if base else {}),
    }
    build(here(), tuple(names or ()), variant=variant, arguments=arguments, network=network, say=say)


@images_app.command("secrets")
def make_secrets() -> None:
    """Make a random file for every secret of infra/compose.yaml that has none."""
    from flows.images import make_secrets

    for name in make_secrets(here()):
        say(f"made infra/secrets/{name}")


def stores(
    make: Annotated[bool, typer.Option("--make", help="Create buckets that are missing.")] = False,
) -> None:
    """Say where everything is kept, and whether each store answers."""
    from flows.stores import stores as asked

    found = list(asked(here(), make=make))
    for store in found:
        say(store.line)
    if any(store.fault for store in found):
        raise typer.Exit(1)


def plan(
    problems: Annotated[float | None, typer.Option(help="Problems to train on, e.g. 1e6; params.yaml's.")] = None,
    model: Annotated[str, typer.Option(help="135m, 360m, 1.5b, 7b or 32b.")] = "135m",
    gpus: Annotated[int, typer.Option(min=0, help="GPUs; 0: processors like the measured ones.")] = 0,
    gpu: Annotated[str, typer.Option(help="Kind of GPU: h100, a100 or l4.")] = "h100",
    measure: Annotated[bool, typer.Option("--measure", help="Add the runs on record to the table of costs.")] = False,
    validate: Annotated[bool, typer.Option("--validate", help="Predict each measured run from the others.")] = False,
) -> None:
    """Predict time, memory, storage and money of a retrain from measured unit costs, and what saturates first."""
    from flows import plan as planning

    paths = here()
    if measure:
        for line in planning.measure(paths):
            say(line)
        return
    lines = planning.validation(paths) if validate else planning.predict(paths, problems, model, gpus, gpu)
    for line in lines:
        say(line)
