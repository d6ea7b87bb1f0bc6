"""The commands about the champion: promote, rollback, reconcile, history, served, and the gate's operating curve.

Takes the command's app; adds to it. What a person asks for at the desk goes straight to the ledger, in a second or
two; the same verbs are Prefect flows (`flows/promote.py`) for schedules and pages.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Annotated

import typer

from flows.shared.faults import UserFault
from flows.shared.terminal import here, say

By = Annotated[str | None, typer.Option(help="Who is responsible; QANAT_ACTOR or the system's user by default.")]
gate_app = typer.Typer(no_args_is_help=True, help="The gate between challenger and champion.")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(gate_app, name="gate")
    for command in (promote, rollback, reconcile, history, served):
        app.command()(command)


def promote(
    version: Annotated[
        str | None, typer.Argument(help="A registered version; by default what is on disk, through the gate.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; needed with a version.")] = None,
    by: By = None,
    force: Annotated[bool, typer.Option(help="Although it is quarantined or the gate did not let it through.")] = False,
    now: Annotated[bool, typer.Option(help="Without the approval that is required; needs --by.")] = False,
) -> None:
    """Register, gate and promote what is on disk, without retraining; or promote a registered version."""
    if version is None:
        if reason is not None or by is not None or force or now:
            raise UserFault(
                "--reason, --by, --force and --now belong to `qanat promote VERSION`: what is on disk goes by the gate"
            )
        _promote_payload()
        return
    if reason is None:
        raise UserFault("--reason: say why, it goes into the history")
    from flows.shared.by_hand import promote_version
    from flows.shared.promoting import in_words, open_desk

    desk = open_desk(here())
    ended = promote_version(desk, version, reason=reason, by=by, force=force, now=now, told=_tell)
    _end(in_words("promote", ended), done=ended.state == "DONE")


def rollback(
    reason: Annotated[str, typer.Option(help="Why; it goes into the history and on the bad version.")],
    to: Annotated[str | None, typer.Option(help="A former champion; the last good one by default.")] = None,
    by: By = None,
) -> None:
    """Make the last good version champion again and quarantine the present one."""
    from flows.shared import by_hand
    from flows.shared.promoting import in_words, open_desk

    ended = by_hand.rollback(open_desk(here()), reason=reason, to=to, by=by, told=_tell)
    _end(in_words("rollback", ended), done=ended.state == "DONE")


def reconcile(
    restore: Annotated[bool, typer.Option(help="Move an alias that was moved by hand back.")] = False,
) -> None:
    """Finish or abort promotions that were left half done, and tell of aliases moved by hand."""
    from flows.shared import by_hand
    from flows.shared.promoting import open_desk

    lines = by_hand.reconcile(open_desk(here()), restore=restore)
    _end("\n".join(lines), done=not any(line.startswith("drift:") for line in lines))


def history(
    verify: Annotated[bool, typer.Option(help="Recompute the chain of hashes and compare with MLflow's tags.")] = False,
) -> None:
    """Who promoted what, when, why, and on what evidence."""
    from flows.shared import by_hand
    from flows.shared.promoting import open_desk

    desk = open_desk(here())
    if not verify:
        say("\n".join(by_hand.history_lines(desk)))
        return
    faults = by_hand.faults(desk)
    _end("\n".join(faults) or f"{len(desk.ledger.entries())} rows, the chain is whole", done=not faults)


def served(
    version: Annotated[str, typer.Argument(help="The version a server answers with.")],
    failed: Annotated[str | None, typer.Option(help="Why the server keeps the version before.")] = None,
    server: Annotated[str | None, typer.Option(help="Name of the server; this host's by default.")] = None,
) -> None:
    """Report to the ledger that a server answers with a version, or why it does not."""
    from flows.shared import by_hand
    from flows.shared.promoting import open_desk

    by_hand.report_served(open_desk(here()), version, server=server or socket.gethostname(), fault=failed)
    say(f"recorded: version {version} {'is served' if failed is None else f'is not served: {failed}'}")


@gate_app.command("simulate")
def simulate(
    gates: Annotated[int, typer.Option(min=100, max=1_000_000, help="Simulated gates a point.")] = 10_000,
    problems: Annotated[int, typer.Option(min=16, max=100_000, help="Problems a gate.")] = 1000,
    discordance: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share that exactly one gets right.")] = 0.2,
    look: Annotated[int, typer.Option(min=1, help="Which challenger on these problems.")] = 1,
    effect: Annotated[list[float] | None, typer.Option(help="Points of true gain; may be repeated.")] = None,
) -> None:
    """Print the gate's operating curve under the thresholds of mlflow/registry.yaml."""
    from flows.gate import curve_lines

    for line in curve_lines(
        here(), _effects(effect), gates=gates, problems=problems, discordance=discordance, look=look
    ):
        say(line)


def _effects(points: Sequence[float] | None) -> tuple[float, ...]:
    return tuple(point / 100 for point in points or (0, 1, 2, 3, 5, 10))


def _promote_payload() -> None:
    from flows.shared import prefect_server
    from flows.shared.process import alone
    from flows.shared.summary import print_policies, promoted_lines, where_to_look

    paths = here()
    with alone(paths.serving) as groups, prefect_server.api(paths, groups):
        from flows.promote import promote as decide

        decide(str(paths.root))
    print_policies(paths)
    for line in [*promoted_lines(paths), *where_to_look(paths)]:
        say(line)


def _tell(arrow: str) -> None:
    state, _, what = arrow.partition(" ")
    if what == "recorded":
        say(f"  {state}")


def _end(text: str, *, done: bool) -> None:
    say(text)
    if not done:
        raise typer.Exit(1)
