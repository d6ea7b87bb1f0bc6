"""Tells people: a command is run, or an address is posted to, when something happens that they may act on.

Takes a notice; gives what went wrong on the way, for the log. Whatever goes wrong here never fails what it tells about.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import httpx

from flows.shared.operations import Hook, Occasion

SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened."""

    occasion: Occasion
    title: str
    """One line."""
    text: str = ""
    """What a person needs to act on it: reason, link, command."""


def notify(hooks: Iterable[Hook], notice: Notice) -> list[str]:
    """Tell everybody who asked for the occasion; gives one line a failure."""
    asked = [hook for hook in hooks if not hook.occasions or notice.occasion in hook.occasions]
    return [complaint for hook in asked if (complaint := _tell(hook, notice))]


def _tell(hook: Hook, notice: Notice) -> str | None:
    body = json.dumps(asdict(notice))
    try:
        if hook.url is None:
            subprocess.run(hook.command, input=body, text=True, check=True, timeout=SECONDS, capture_output=True)
        else:
            headers = {"content-type": "application/json"}
            httpx.post(str(hook.url), content=body, headers=headers, timeout=SECONDS).raise_for_status()
    except (OSError, subprocess.SubprocessError, httpx.HTTPError, httpx.InvalidURL) as error:
        return f"the hook {hook.url or hook.command[0]} failed on {notice.occasion}: {error}"
    return None
