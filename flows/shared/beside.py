"""Versions that a person puts beside the champion: canary and shadow.

Takes a version's number; writes what the server follows, and gives a sentence. Does not ask whether a server runs.
"""

from __future__ import annotations

from flows.shared.faults import UserFault
from flows.shared.paths import Paths
from flows.shared.promoting import QUARANTINED, Desk, open_desk
from flows.shared.traffic import read_traffic, write_traffic


def set_canary(paths: Paths, share: float, number: str | None) -> str:
    """Give a version (by default the challenger) this part of the champion's requests; a share of 0 ends the canary."""
    now = read_traffic(paths)
    if share == 0:
        write_traffic(paths, now.model_copy(update={"canary": None, "share": 0.0}))
        return "no canary: the champion answers everything" if now.canary else "there was no canary"
    desk = open_desk(paths)
    if number is None:
        challenger = desk.registry.alias(desk.settings.aliases.challenger)
        if challenger is None:
            raise UserFault("there is no challenger: name a version, `qanat canary 5% VERSION`")
        number = challenger.number
    champion = _champion(desk)
    _check(desk, number, champion)
    write_traffic(paths, now.model_copy(update={"canary": number, "share": share, "stopped": None}))
    return f"version {number} answers {100 * share:g} % of the requests, version {champion} the others"


def set_shadow(paths: Paths, number: str | None) -> str:
    """Let a version answer the champion's requests, too; None ends it."""
    now = read_traffic(paths)
    if number is not None:
        desk = open_desk(paths)
        _check(desk, number, _champion(desk))
    write_traffic(paths, now.model_copy(update={"shadow": number}))
    if number is None:
        return "no shadow" if now.shadow else "there was no shadow"
    return f"version {number} answers in the shadow: data/serving/shadow.jsonl compares"


def _champion(desk: Desk) -> str:
    champion = desk.champion()
    if champion is None:
        raise UserFault("no champion yet: `qanat run` trains and promotes one")
    return champion.number


def _check(desk: Desk, number: str, champion: str) -> None:
    known = {version.number: version for version in desk.registry.versions()}
    if number not in known:
        raise UserFault(f"{desk.registry.model} has no version {number} (it has {', '.join(known) or 'none'})")
    if number == champion:
        raise UserFault(f"version {number} is the champion: it answers anyway")
    if QUARANTINED in known[number].tags:
        raise UserFault(f"version {number} is quarantined ({known[number].tags[QUARANTINED]})")
