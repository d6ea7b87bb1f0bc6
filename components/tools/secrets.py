"""Secrets by the name of an environment variable: `Bearer ${WEATHER_KEY}`.

Takes texts that name variables, and the variables' values; gives the filled-in texts, and texts with the values hidden.
Reads no environment: who opens the tools passes the values in, and they are in no parameter, log or trace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

HIDDEN = "[secret]"
_SHORTEST = 6
"""Characters from which on a value is hidden: a shorter one (a level, a port) occurs everywhere by chance."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def variables_in(texts: Iterable[str]) -> tuple[str, ...]:
    """Names of the variables in the texts, in order."""
    return tuple(dict.fromkeys(name for text in texts for name in _VARIABLE.findall(text)))


def fill_in(texts: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """The texts with every variable's value in its place; KeyError names a variable that has none."""
    return {key: _VARIABLE.sub(lambda found: secrets[found[1]], text) for key, text in texts.items()}


def hide(text: str, secrets: Iterable[str]) -> str:
    """`text` without the secrets, should a partner send them back."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN) if len(secret) >= _SHORTEST else text
    return text
