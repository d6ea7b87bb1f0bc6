"""Which commit is checked out. Takes the project's root; gives the commit and whether files differ. Changes nothing."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

# A run itself rewrites the lock file, `--profile` the parameters, adding annotations their hash: all recorded anyway.
NOT_CODE = (":(exclude)dvc.lock", ":(exclude)params.yaml", ":(exclude)data/annotations.dvc")


@dataclass(frozen=True, slots=True)
class Commit:
    """What is checked out."""

    sha: str
    """Full hash; `unknown` outside a git repository or before the first commit."""
    dirty: bool
    """True when tracked files (but `dvc.lock`, `params.yaml` and the annotations' hash) differ from that commit."""

    @property
    def version(self) -> str:
        """What deployments and runs are marked with: twelve digits, and `-dirty` where files differ."""
        return f"{self.sha[:12]}-dirty" if self.dirty else self.sha[:12]


def read_commit(root: Path) -> Commit:
    """The commit at `root`, and whether the working tree departs from it."""
    sha = _git(root, "rev-parse", "HEAD")
    if sha is None:
        return Commit(sha="unknown", dirty=True)
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *NOT_CODE)
    return Commit(sha=sha.strip(), dirty=changes is None or bool(changes.strip()))


def subject_of(root: Path, sha: str) -> str | None:
    """Date and subject of a commit; None when this repository does not have it."""
    told = _git(root, "log", "-1", "--format=%cs %s", f"{sha}^{{commit}}", "--")
    return None if told is None else told.strip()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
