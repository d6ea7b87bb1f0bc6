"""The commands about serving: serve, canary, shadow.

Takes the command's app; adds to it. The server follows what canary and shadow write; it need not run for them.
"""

from __future__ import annotations

import re
from typing import Annotated

import typer

from flows.shared.faults import UserFault
from flows.shared.terminal import here, say


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (serve, canary, shadow):
        app.command()(command)


def serve(
    host: Annotated[str | None, typer.Option(help="Address; by default that of infra/qanat.yaml.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; likewise.")] = None,
) -> None:
    """Answer OpenAI's chat completions with the champion, whichever it is, until Ctrl-C."""
    from flows.serve import serve as answer

    answer(here(), say=say, host=host, port=port)


def canary(
    share: Annotated[str, typer.Argument(help="Part of the champion's requests, as 5%; 0% ends it.")],
    version: Annotated[str | None, typer.Argument(help="A version; by default the alias challenger's.")] = None,
) -> None:
    """Let a version answer some of the champion's requests; it is taken back by itself when it does badly."""
    from flows.shared.beside import set_canary

    say(set_canary(here(), _part(share), version))


def shadow(version: Annotated[str, typer.Argument(help="A version, or `off`.")]) -> None:
    """Let a version answer the champion's requests, too, for nobody to read but data/serving/shadow.jsonl."""
    from flows.shared.beside import set_shadow

    say(set_shadow(here(), None if version == "off" else version))


def _part(share: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", share.strip())
    if found is None or float(found[1]) > 100:
        raise UserFault(f"SHARE: must be a percentage from 0% to 100%, is {share!r}")
    return float(found[1]) / 100
