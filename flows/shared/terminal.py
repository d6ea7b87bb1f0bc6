"""What every command of the terminal begins with: the project it is called in, and a line for a person.

Takes nothing; gives the project's paths, with its environment filled in.
"""

from __future__ import annotations

from flows.shared import environ
from flows.shared.paths import Paths, project


def here() -> Paths:
    """The project around the working directory, its settings in the environment."""
    paths = project()
    environ.prepare(paths)
    return paths


def say(text: str) -> None:
    """A line, at once."""
    print(text, flush=True)
