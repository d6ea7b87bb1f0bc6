"""The example of the README form is run for real: its tool, its data, its settings; only the training is left out."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from doubles import PASSAGES
from tiny_models import chat, tiny_policy

from components.curation.curate import CuratedData, curate
from components.curation.own_problems import own_problems
from components.curation.settings import CurateSettings
from components.records.annotations import read_annotations
from components.records.own_problems import read_own_problems
from components.rollout import rollout
from components.schema.message import ToolCall
from components.schema.problem import Reference
from components.tools.open_toolbox import open_toolbox
from components.tools.own_settings import OwnToolSettings
from components.tools.own_tools import Surroundings
from components.tools.prices import PriceSheet
from components.tools.settings import PriceSettings, ToolSettings
from components.tools.toolbox import Toolbox

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SNIPPETS = [
    yaml.safe_load(re.sub("(?m)^    ", "", block))
    for block in re.findall(r"\n\n((?:    .*\n)+)", (EXAMPLES / "README.md").read_text())
    if block.strip().startswith("tools:")
]


@pytest.fixture(scope="module")
def toolbox() -> Iterator[Toolbox]:
    """The toolbox of the example's params.yaml, with the tool in its first place."""
    params = SNIPPETS[0]
    settings = ToolSettings.model_validate(params["tools"])
    assert settings.own.functions == ("own.units:convert",)
    own = settings.own.model_copy(update={"functions": ("examples.units:convert",)})
    box = open_toolbox(
        settings.model_copy(update={"own": own}),
        PriceSheet(PriceSettings.model_validate(params["prices"])),
        PASSAGES,
        cut=chat().cut,
        clock=time.monotonic,
        surroundings=Surroundings(EXAMPLES, {}),
    )
    yield box
    box.close()


@pytest.fixture(scope="module")
def curated(toolbox: Toolbox) -> CuratedData:
    """The example's problems and demonstrations, curated with the real tool."""

    def score(items: Sequence[tuple[str, Sequence[str], Reference]]) -> list[float]:
        return [-0.1 if any(reference.answer in text for text in shown) else -3.0 for _, shown, reference in items]

    settings = CurateSettings.model_validate(SNIPPETS[0]["curate"])
    rows = read_own_problems([EXAMPLES / Path(source).name for source in settings.sources])
    assert rows.rejects == ()
    return curate(
        read_annotations(EXAMPLES / "units_demonstrations.jsonl", tools=toolbox.specs()),
        tuple(own_problems(rows.problems, settings.split_seed)),
        pool={},
        settings=settings,
        ask=lambda prompts: ["I do not know."] * len(prompts),
        score_reference=score,
        toolbox=toolbox,
        tools=[spec.name for spec in toolbox.specs()],
    )


def test_every_row_of_the_example_is_good_and_every_demonstration_is_kept(curated: CuratedData) -> None:
    assert curated.rejects == ()
    assert len(curated.problems) == 10
    assert {problem.tool_names for problem in curated.problems} == {("search", "python", "convert")}
    lines = (EXAMPLES / "units_demonstrations.jsonl").read_text().splitlines()
    assert len(curated.demonstrations) == len(lines) >= 5
    assert all(trajectory.outcome.success for trajectory in curated.demonstrations)
    shown = [trajectory.transitions[0].results[0].content for trajectory in curated.demonstrations]
    assert all(text.endswith((" km", " mi", " ft", " nmi")) for text in shown)


def test_a_model_calls_the_tool_of_the_example_in_a_rollout(curated: CuratedData, toolbox: Toolbox) -> None:
    played = rollout(tiny_policy(), curated.problems, toolbox, seed=0, force=("convert",))
    assert {trajectory.transitions[0].action.decision for trajectory in played} == {"convert"}
    results = [result for trajectory in played for result in trajectory.transitions[0].results]
    assert results, "no call was finished"
    assert not any(result.is_error for result in results)
    assert {result.cost.money for result in results} == {0.0001}


def test_the_tool_is_right(toolbox: Toolbox) -> None:
    call = ToolCall("convert", {"amount": 100, "source": "km", "target": "mi"})
    assert toolbox.call(call).content == "62.14 mi"
    assert toolbox.call(ToolCall("convert", {"amount": 1, "source": "km", "target": "ly"})).is_error


@pytest.mark.parametrize("params", SNIPPETS[1:])
def test_the_other_settings_of_the_readme_are_valid(params: dict[str, Any]) -> None:
    assert ToolSettings.model_validate(params["tools"]).own != OwnToolSettings()
