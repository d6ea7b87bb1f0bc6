"""The report in a real browser: it loads without a complaint, filters, opens, and fits a telephone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import evaluation_records as made
import pytest
from browser_page import opened
from playwright.sync_api import Page, expect

from components.evaluation.report import write_html
from components.evaluation.samples import choose_samples


@pytest.fixture(scope="module")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    solved = made.problems(160)
    samples = choose_samples(solved, made.trajectories(made.PLAN[-1], solved), made.price, count=20)
    hostile = choose_samples(solved[:1], made.trajectories(made.PLAN[-1], solved[:1]), made.price, count=1)
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_html(path, made.report(resamples=200), (*hostile, *samples), made.reward_steps())
    return path


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def page(report_file: Path, complaints: list[str]) -> Iterator[Page]:
    with opened(report_file, complaints) as page:
        yield page


def test_the_page_loads_without_errors_or_requests(page: Page, complaints: list[str]) -> None:
    expect(page.locator("h1")).to_have_text("Qanat evaluation")
    assert complaints == []
    assert page.evaluate("window.broken") is None  # text from data stays text
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_the_slice_filter_shows_only_that_slice(page: Page) -> None:
    page.select_option("#slice", "decoy")
    shown = page.locator("details[data-slices]:visible")
    assert shown.count() >= 1
    assert {shown.nth(i).get_attribute("data-slices") for i in range(shown.count())} == {"decoy"}
    expect(page.locator("#shown")).to_have_text(f"{shown.count()} of 21 shown")
    page.select_option("#slice", "")
    expect(page.locator("details[data-slices]:visible")).to_have_count(21)


def test_the_filters_work_together(page: Page) -> None:
    page.select_option("#verdict", "wrong")
    wrong = page.locator("details[data-slices]:visible")
    assert wrong.count() >= 1
    assert all(wrong.nth(i).get_attribute("data-verdict") == "wrong" for i in range(wrong.count()))
    page.select_option("#verdict", "")


def test_a_trajectory_opens_and_shows_call_result_and_reference(page: Page) -> None:
    page.select_option("#slice", "number")
    card = page.locator("details[data-slices]:visible").filter(has=page.locator("pre.result")).first
    card.locator("summary").click()
    expect(card.locator("pre").first).to_contain_text("query=")
    expect(card.locator("pre.result").first).to_be_visible()
    expect(card.locator("dl")).to_contain_text("Reference")
    page.select_option("#slice", "")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_never_scrolls_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
