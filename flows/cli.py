"""The command `qanat`. Takes arguments; prints for a person. Thin: every verb is a few lines over flows and components.

Heavy libraries are imported inside the verbs, so that `qanat --help` answers at once.
"""

from __future__ import annotations

import getpass
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal, NoReturn

import typer

from components.records.jsonl import BadRecord
from components.records.manifest import BadModelFolder
from flows import cli_promotion, cli_scale, cli_serving
from flows.shared.faults import UserFault
from flows.shared.paths import Paths
from flows.shared.terminal import here, say

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Brings annotations, by their own slope, to a promoted tool-using language model.",
)
annotation_app = typer.Typer(no_args_is_help=True, help="Annotation files.")
app.add_typer(annotation_app, name="annotations")
cli_promotion.add_to(app)
cli_serving.add_to(app)
cli_scale.add_to(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point (`arguments`: those of the process): faults of the user's input end with one line and status 1."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        app(arguments)
    except (UserFault, BadRecord, BadModelFolder, OSError) as error:
        print(f"qanat: {error}", file=sys.stderr)
        raise SystemExit(1) from None


@app.command()
def run(
    profile: Annotated[str | None, typer.Option(help="demo, full or smoke: written to params.yaml first.")] = None,
) -> None:
    """The whole job: bring every stage up to date, then register, gate and promote."""
    from flows import annotations
    from flows.shared.params import check_params, set_profile
    from flows.shared.unchanged import nothing_to_do

    paths = here()
    if profile is not None and set_profile(paths, profile):
        say(f"params.yaml: profile is now {profile}")
    check_params(paths)
    for line in annotations.ensure(paths):
        say(line)
    if nothing_to_do(paths):
        say("0 stages ran: nothing has changed since the last decision.")
    else:
        _retrain(paths)
    _summary(paths)


def _retrain(paths: Paths) -> None:
    from flows.shared import prefect_server
    from flows.shared.git import read_commit
    from flows.shared.process import alone

    with alone(paths.serving) as groups:
        say("Waiting for the Prefect server ...")
        with prefect_server.api(paths, groups):
            from flows.retrain import retrain

            done = retrain.with_options(version=read_commit(paths.root).sha[:12])(str(paths.root))
    ran = [stage for stage, outcome in done.outcomes.items() if outcome == "ran"]
    say(f"{len(ran)} stages ran{': ' if ran else ''}{', '.join(ran)}.")


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    rerank: Annotated[
        Literal["q"] | None,
        typer.Option(help="q: insist on acting by the greatest Q(s, a); a champion that has a Q does so anyway."),
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="What one unit of cost counts against a correct answer.")
    ] = None,
) -> None:
    """Ask the promoted champion; shows its calls and what they cost."""
    from flows.ask import ask as answer
    from flows.ask import describe

    for line in describe(answer(here(), question, rerank=rerank, price=price)):
        say(line)


@app.command()
def ui(
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages.")] = 4200,
) -> None:
    """Start MLflow's and Prefect's pages on loopback, until Ctrl-C."""
    from flows.ui import serve

    serve(here(), mlflow_port=mlflow_port, prefect_port=prefect_port, say=say)


@app.command()
def experiments(
    name: Annotated[str, typer.Argument(help="Which claim to test; `list` shows them.")] = "list",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 3,
    profile: Annotated[str, typer.Option(help="demo, full or smoke.")] = "demo",
    shared: Annotated[
        Path | None, typer.Option(help="Folder of finished variants that several machines read and fill.")
    ] = None,
) -> None:
    """Test a claim: run its variants of the pipeline and write data/reports/experiments/NAME.json."""
    from flows.experiments import listed, run_experiment

    if name == "list":
        for line in listed():
            say(line)
        return
    for line in run_experiment(here(), name, seeds=range(seeds), profile=profile, say=say, shared=shared):
        say(line)


@app.command()
def explain(stage: Annotated[str, typer.Argument(help="A stage of dvc.yaml.")]) -> None:
    """Say why a stage would run now: which dependency, parameter or output changed."""
    from flows.shared.summary import explanation

    for line in explanation(here(), stage):
        say(line)


@app.command()
def status() -> None:
    """Say what is up, which stages would run now, what is promoted, what runs and what waits for approval."""
    from flows.approve import waiting_lines
    from flows.shared.summary import promoted_lines, stage_lines
    from flows.status import run_lines, service_lines

    paths = here()
    for lines in (service_lines, stage_lines, promoted_lines, run_lines, waiting_lines):
        for line in lines(paths):
            say(line)


@app.command()
def up(
    cron: Annotated[list[str] | None, typer.Option(help="When to retrain, as cron says it; may be repeated.")] = None,
) -> None:
    """Start the servers, the annotation page, the deployments and the watcher on loopback, until Ctrl-C."""
    from flows.up import up as run_services

    run_services(here(), cron=tuple(cron or ()), say=say)


@app.command()
def deploy(
    cron: Annotated[list[str] | None, typer.Option(help="When to retrain, as cron says it; may be repeated.")] = None,
    on_events: Annotated[bool, typer.Option(help="Look at the annotations whenever some were added.")] = False,
) -> None:
    """Serve the deployments retrain, watch, evaluate, promote, rollback and reconcile from here, until Ctrl-C."""
    paths = here()
    _use_server(paths)
    from flows.deploy import deploy as serve

    serve(paths, cron=cron or (), on_events=on_events, say=say)


@app.command()
def watch(once: Annotated[bool, typer.Option(help="Look once.")] = False) -> None:
    """Ask for a retrain whenever there are new annotations, until Ctrl-C."""
    paths = here()
    _use_server(paths)
    from flows.watch import look, look_for_ever, sentence

    if once:
        say(sentence(look(paths)))
    else:
        look_for_ever(paths, say=say)


@app.command()
def annotate(
    port: Annotated[int | None, typer.Option(help="Where to listen; that of infra/qanat.yaml by default.")] = None,
    host: Annotated[str, typer.Option(help="Another address only inside a container.")] = "127.0.0.1",
) -> None:
    """Serve the page on which people correct the model's decisions, until Ctrl-C."""
    from flows.annotate import serve

    serve(here(), port=port, say=say, host=host)


@app.command()
def lineage(
    thing: Annotated[
        str, typer.Argument(help="Version, alias, run, response, annotation, commit or hash; `verify`: check all.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    html: Annotated[Path | None, typer.Option(help="Draw it into this file.")] = None,
) -> None:
    """Tell what something came of and what came of it; `verify` computes every hash again."""
    from flows import lineage as chain

    if thing == "verify":
        lines, whole = chain.check(here())
        for line in lines:
            say(line)
        if not whole:
            raise typer.Exit(1)
        return
    graph, item = chain.trace(here(), thing)
    if html is not None:
        chain.write_page(graph, item, html)
        say(f"wrote {html}")
    for line in [json.dumps(chain.as_json(graph, item), indent=2)] if as_json else chain.lines(graph, item):
        if as_json or html is None:
            say(line)


@app.command()
def approve(
    version: Annotated[str, typer.Argument(help="Number of the version that waits.")],
    why: Annotated[str, typer.Option(help="Kept with the version.")],
    by: Annotated[str | None, typer.Option(help="Who says so; else the user who is logged in.")] = None,
) -> None:
    """Promote a version that waits for approval."""
    _settle(version, approved=True, by=by, why=why)


@app.command()
def reject(
    version: Annotated[str, typer.Argument(help="Number of the version that waits.")],
    why: Annotated[str, typer.Option(help="Kept with the version.")],
    by: Annotated[str | None, typer.Option(help="Who says so; else the user who is logged in.")] = None,
) -> None:
    """Refuse a version that waits for approval."""
    _settle(version, approved=False, by=by, why=why)


@app.command()
def gc(apply: Annotated[bool, typer.Option(help="Remove it; without this it is only listed.")] = False) -> None:
    """List (or remove) old workspaces and checkpoints that nothing needs."""
    from flows.gc import collect

    collect(here(), apply=apply, say=say)


@app.command()
def rescore(
    files: Annotated[list[Path] | None, typer.Argument(help="Trajectories; by default all that stages left.")] = None,
    money: Annotated[list[str] | None, typer.Option(help="TOOL=PRICE of a call; may be repeated.")] = None,
    seconds: Annotated[list[str] | None, typer.Option(help="TOOL=SECONDS of a call; may be repeated.")] = None,
    price: Annotated[float | None, typer.Option(help="lambda: reward lost per unit of cost.")] = None,
    params: Annotated[Path | None, typer.Option(help="Another file like params.yaml: its prices and reward.")] = None,
) -> None:
    """Score stored trajectories again under other prices or weights, without a model."""
    from flows.rescore import Wanted, describe, rescore_files

    wanted = Wanted(tuple(money or ()), tuple(seconds or ()), price, params)
    for written in rescore_files(here(), files or [], wanted):
        for line in describe(written):
            say(line)


@annotation_app.command("check")
def check_annotations(file: Annotated[Path, typer.Argument(help="A .jsonl file, or a folder of them.")]) -> None:
    """Explain every bad row of an annotation file."""
    from flows.annotations import check

    lines, good = check(here(), file)
    for line in lines:
        say(line)
    if not good:
        raise typer.Exit(1)


@annotation_app.command("add")
def add_annotations(
    files: Annotated[list[Path], typer.Argument(help=".jsonl files, or JSON exports of Label Studio.")],
) -> None:
    """Take in every good row; bad ones go to quarantine, known ones change nothing."""
    from flows.annotations import add

    lines, good = add(here(), files)
    for line in lines:
        say(line)
    if not good:
        raise typer.Exit(1)


@annotation_app.command("seed")
def seed_annotations() -> None:
    """Generate the seed set, data/annotations/seed.jsonl; the same on every machine."""
    from flows.annotations import seed
    from flows.shared.tracking import track

    paths = here()
    files = seed(paths)
    track(paths)
    for file in files:
        say(f"wrote {file.relative_to(paths.root)}")


def _settle(version: str, *, approved: bool, by: str | None, why: str) -> None:
    from flows.approve import settle

    decision = settle(here(), version, approved=approved, by=by or getpass.getuser(), why=why)
    say(f"version {version} is {'champion' if decision.promoted else 'not promoted: ' + decision.gate.reason}")


def _use_server(paths: Paths) -> None:
    """Prefect is to find the server that runs; it reads the environment when it is imported."""
    from flows.shared import prefect_server

    url = prefect_server.reachable(paths)
    if url is None:
        raise UserFault("no Prefect server answers: `qanat up` starts one, PREFECT_API_URL names another")
    os.environ["PREFECT_API_URL"] = url


def _summary(paths: Paths) -> None:
    from flows.shared.summary import print_policies, promoted_lines, where_to_look

    print_policies(paths)
    for line in [*promoted_lines(paths), *where_to_look(paths)]:
        say(line)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
