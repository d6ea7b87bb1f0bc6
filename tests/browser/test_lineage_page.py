"""The drawing of a lineage in a real browser: no complaint, boxes in layers, facts a click away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_page import opened
from playwright.sync_api import Page, expect

from flows.shared.lineage_graph import Item, Lineage
from flows.shared.lineage_page import render

HOSTILE = "<script>window.broken = 1</script>"


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def page(complaints: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    graph = Lineage()
    version = graph.add(Item("version", "1", {"payload sha256": "ab" * 32}))
    run = graph.add(Item("run", "r" * 32, {"stage": "clone"}))
    response = graph.add(Item("response", "resp-1", {"question": HOSTILE}))
    for number in range(4):
        graph.link(run, graph.add(Item("data", f"data/{number}@{'0' * 32}", {"path": f"data/{number}", "md5": "0"})))
    graph.link(version, run)
    graph.link(response, version)
    path: Path = tmp_path_factory.mktemp("lineage") / "page.html"
    path.write_text(render(graph, version), encoding="utf-8")
    with opened(path, complaints) as page:
        yield page


def test_the_page_loads_without_errors_or_requests(page: Page, complaints: list[str]) -> None:
    expect(page.locator("h1")).to_have_text("version 1")
    assert complaints == []
    assert page.evaluate("window.broken") is None  # text from data stays text


def test_effects_are_above_causes_and_no_boxes_overlap(page: Page) -> None:
    boxes = [box for one in page.locator("svg rect").all() if (box := one.bounding_box()) is not None]
    assert len(boxes) == 7
    assert len({(box["x"], box["y"]) for box in boxes}) == 7
    layers = sorted({box["y"] for box in boxes})
    assert [sum(box["y"] == layer for box in boxes) for layer in layers] == [1, 1, 1, 4]
    expect(page.locator("svg a").first).to_contain_text("resp-1")
    for text in page.locator("svg a").all():
        box, word = text.locator("rect").bounding_box(), text.locator(".says").bounding_box()
        assert box is not None
        assert word is not None
        assert word["x"] + word["width"] <= box["x"] + box["width"]
    assert page.locator("svg path").count() == 6


def test_a_click_leads_to_the_facts(page: Page) -> None:
    page.locator("svg a").filter(has_text="response").click()
    expect(page.locator(".card:target")).to_contain_text("resp-1")
    expect(page.locator(".card:target")).to_contain_text(HOSTILE)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_never_scrolls_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
