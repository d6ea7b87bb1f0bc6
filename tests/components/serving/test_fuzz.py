"""Whatever the server's own description allows, and what it does not: no request makes it fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from served import World, listening, random_policy, toolbox, version


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    folder = tmp_path_factory.mktemp("fuzz")
    made = World(folder, version("1", random_policy(), toolbox()), log_texts=True, limits={"answer_tokens": 4})
    with listening(made) as url:
        yield made, url


@pytest.fixture
def api(world: tuple[World, str]) -> Any:
    return schemathesis.openapi.from_url(f"{world[1]}/openapi.json")


@schemathesis.pytest.from_fixture("api").parametrize()
@settings(
    max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_no_request_makes_the_server_fail(world: tuple[World, str], case: Any) -> None:
    if isinstance(case.body, dict) and "messages" in case.body and isinstance(case.body.get("model"), str):
        case.body["model"] = "qanat"  # a name that exists leads further in
    case.call_and_validate(checks=[not_a_server_error], timeout=60)
    assert world[0].faults == []
    assert world[0].service.admission.inside == 0
