"""Finding functions by name. Takes `module:function`; gives the function, or `BadTool` in words.

Importing a module runs it: whatever stands in it happens with all rights of this process. So a module is looked for
before it is imported, and only taken from one folder (the project's `own/`) or from a package that the user named; the
look-up imports nothing of a package that was refused. That is a rule against mistakes, not a sandbox.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from components.tools.function_tool import BadTool


def load_function(name: str, *, folder: Path, packages: Sequence[str]) -> Callable[..., Any]:
    """The function `module:function` from the package in `folder`, or from one of `packages`."""
    module_name, _, function_name = name.partition(":")
    package = module_name.partition(".")[0]
    found = importlib.util.find_spec(package)  # a top-level name: nothing is imported for this
    if found is None:
        raise BadTool(f"tools.own.functions: {name}: there is no module {package}")
    if package not in packages and not _lies_in(found, folder):
        reason = f"{package} is not in the folder {folder.name}/ and not named in tools.own.packages"
        raise BadTool(f"tools.own.functions: {name}: {reason}")
    try:
        function = getattr(importlib.import_module(module_name), function_name, None)
    except Exception as error:  # whatever a person's module raises when it is imported
        raise BadTool(f"tools.own.functions: {name}: importing it failed: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise BadTool(f"tools.own.functions: {name}: {module_name} has no function {function_name}")
    checked: Callable[..., Any] = function
    return checked


def _lies_in(found: ModuleSpec, folder: Path) -> bool:
    """Whether the package is that folder, or a module inside it."""
    places = [*(found.submodule_search_locations or ()), *([found.origin] if found.origin else [])]
    return bool(places) and all(Path(place).resolve().is_relative_to(folder.resolve()) for place in places)
