"""A page in a real browser, with everything that it complains about.

Needs Chromium or Google Chrome (on Debian: `apt-get install chromium`); without one the tests that ask are skipped.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_MS = 60_000
"""How long a page may take on a busy machine; nothing waits longer than it has to."""


@contextlib.contextmanager
def opened(path: Path, complaints: list[str]) -> Iterator[Page]:
    """The file at `path`; console messages, errors and requests to anywhere else are added to `complaints`."""
    with launched() as browser:
        page = watched(browser, complaints)
        page.goto(path.as_uri())
        yield page


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """A browser for the time of a `with`."""
    executable = _find_browser()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


def watched(browser: Browser, complaints: list[str], *, own: str = "file:") -> Page:
    """An empty page with cookies of its own; whatever it asks for but `own` addresses is a complaint too."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith((own, "data:")) else complaints.append(request.url),
    )
    return page


def _find_browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: looked for {', '.join(BROWSERS)} (on Debian: apt-get install chromium)")
    return found
