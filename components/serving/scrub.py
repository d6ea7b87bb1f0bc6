"""Personal data taken out of texts before they are kept. Takes a text; gives it with placeholders. Finds no names.

What has a form is found: mail addresses, telephone, card and account numbers, IP addresses, keys that look secret. A
project that must find more passes a function of its own (`serve.scrub`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

Scrub = Callable[[str], str]

_FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("<email>", re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")),
    ("<secret>", re.compile(r"\b(?:sk|pk|ghp|gho|xox[abp]|AKIA|eyJ)[-_A-Za-z0-9]{16,}")),
    ("<iban>", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")),
    ("<ip>", re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")),
    ("<card>", re.compile(r"\b\d(?:[ -]?\d){12,18}\b")),
    ("<phone>", re.compile(r"(?<![\w.])(?:\+\d|\(\d|0\d)(?:[ ()/.-]{0,2}\d){6,13}(?!\w)")),
)


def scrub(text: str) -> str:
    """The text with `<email>`, `<phone>` and so on in place of what has their form."""
    for name, form in _FORMS:
        text = form.sub(name, text)
    return text
