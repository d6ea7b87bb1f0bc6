"""Prices come from the sheet; settings refuse what they do not know."""

import pytest
from pydantic import ValidationError

from components.schema.cost import Cost
from components.tools.prices import PriceSettings, PriceSheet, ToolPrice
from components.tools.settings import PythonLimits, ToolSettings
from components.tools.spec import PYTHON_SPEC, SEARCH_SPEC


def test_a_search_is_one_unit_and_python_three_tenths() -> None:
    sheet = PriceSheet()
    assert sheet.units(sheet.charge("search")) == pytest.approx(1.0)
    assert sheet.units(sheet.charge("python")) == pytest.approx(0.3)
    assert sheet.units(sheet.charge("search") + sheet.charge("python")) == pytest.approx(1.3)
    assert sheet.units(Cost(prompt_tokens=100)) == 0.0


def test_a_tool_that_is_not_listed_is_charged_too() -> None:
    assert PriceSheet().charge("browse").money > 0


def test_the_composites_own_calls_have_prices_unless_the_sheet_lists_them() -> None:
    units = {name: PriceSheet().units(PriceSheet().charge(name)) for name in ("delegate", "split", "give_up")}
    assert units == pytest.approx({"delegate": 0.3, "split": 0.125, "give_up": 0.125})
    listed = PriceSheet(PriceSettings(tools={"split": ToolPrice(money=1.0, seconds=0.0)}))
    assert (listed.charge("split").money, listed.charge("delegate").money) == (1.0, 0.0002)


def test_a_stored_cost_can_be_priced_again() -> None:
    cost = PriceSheet().charge("search")
    dear = PriceSheet(PriceSettings(money_per_second=0.0, unit=0.001))
    assert dear.units(cost) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (ToolSettings, {"colour": 1}),
        (ToolSettings, {"engine": "fuzzy"}),
        (ToolSettings, {"k": 0}),
        (ToolSettings, {"python": {"seconds": 0}}),
        (ToolSettings, {"searxng_url": "file:///etc/passwd"}),
        (ToolSettings, {"timeouts": {"search": 0}}),
        (ToolSettings, {"composite": {"tools": ["browse"]}}),
        (ToolSettings, {"composite": {"tools": ["split", "split"]}}),
        (ToolSettings, {"composite": {"splitting": "often"}}),
        (ToolSettings, {"composite": {"width": 0}}),
        (PythonLimits, {"memory_bytes": None}),
        (PriceSettings, {"unit": 0}),
        (PriceSettings, {"tools": {"search": {"money": -1, "seconds": 0}}}),
        (ToolPrice, {"money": 1}),
    ],
)
def test_settings_refuse_unknown_keys_and_values_out_of_range(cls: type, values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        cls(**values)


def test_signatures_are_what_prompts_show() -> None:
    assert (SEARCH_SPEC.signature(), PYTHON_SPEC.signature()) == ("search(query)", "python(code)")
