"""Which source files a module imports, directly or not. Takes a module's name; gives files. Runs nothing it reads."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from flows.shared.params import SECTIONS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("flows", "components")


def import_closure(module: str) -> set[str]:
    """Files below `flows/` and `components/` that importing or running `module` may read, from the project's root."""
    return set(_closure(module))


@functools.cache
def _closure(module: str) -> frozenset[str]:
    todo, seen = [module], set[str]()
    while todo:
        name = todo.pop()
        file = source_of(name)
        if file is None or str(file) in seen:
            continue
        seen.add(str(file))
        todo += _imported_names(ROOT / file, name)
    return frozenset(file for file in seen if not _only_a_docstring(ROOT / file))


@functools.cache
def _imported_names(path: Path, module: str) -> tuple[str, ...]:
    """Names that the file imports anywhere but under `if TYPE_CHECKING`, with its own packages."""
    return tuple(_names(path, module))


def _names(path: Path, module: str) -> Iterator[str]:
    parts = module.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts)))
    for node in _walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def source_of(module: str) -> Path | None:
    """The module's file from the root; None for other people's modules and for names inside a module."""
    if module.split(".")[0] not in PACKAGES:
        return None
    path = Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / candidate).is_file():
            return candidate
    return None


def sections_read(files: set[str]) -> set[str]:
    """Sections of the parameters that these files read, as `params.NAME` or `run.params.NAME`."""
    found = set()
    for file in files:
        for node in _walk(_tree(ROOT / file)):
            if isinstance(node, ast.Attribute) and node.attr in SECTIONS and _is_params(node.value):
                found.add(node.attr)
    return found


def _is_params(node: ast.expr) -> bool:
    return getattr(node, "id", None) == "params" or getattr(node, "attr", None) == "params"


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _walk(child)


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _only_a_docstring(path: Path) -> bool:
    body = _tree(path).body
    return path.name == "__init__.py" and all(isinstance(node, ast.Expr) for node in body)
