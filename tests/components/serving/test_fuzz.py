"""Whatever the server's own description allows, and what it does not: no request makes it fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from served import World, listening, random_policy, toolbox, version

EXAMPLES = 25
"""Requests of each kind to each operation."""


def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    world = World(tmp_path, version("1", random_policy(), toolbox()), log_texts=True, limits={"answer_tokens": 4})
    paths = set[str]()

    def check(case: Any) -> None:
        if isinstance(case.body, dict) and "messages" in case.body and isinstance(case.body.get("model"), str):
            case.body["model"] = "qanat"  # a name that exists leads further in
        case.call_and_validate(checks=[not_a_server_error], timeout=120)

    quietly = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    with listening(world) as url:
        for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
            operation = found.ok()
            paths.add(operation.path)
            for mode in _modes(operation):
                cases = operation.as_strategy(generation_mode=mode)
                settings(max_examples=EXAMPLES, phases=[Phase.generate], **quietly)(given(cases)(check))()
    assert "/v1/chat/completions" in paths
    assert world.faults == []
    assert world.service.admission.inside == 0


def _modes(operation: Any) -> tuple[GenerationMode, ...]:
    """Operations without a body have nothing that could be wrong."""
    return (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if operation.body else (GenerationMode.POSITIVE,)
