"""The page of a searched tree in a real browser: it loads, folds, finds, shows calls and results, fits a telephone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser_page import opened
from playwright.sync_api import Locator, Page, expect
from toy_search import in_advance, make_problem, make_verbs, turns_of

from components.schema.trajectory import State
from components.search.audit import audit
from components.search.mcts import search
from components.search.page import pages, render_tree
from components.search.rows import Provenance, tree_rows
from components.search.schema import NodeRow

HOSTILE = "<script>window.broken = 1</script>"
PROBLEM = make_problem("page", prompt=f"What is the area of the country whose capital is X? {HOSTILE}")
CHOSEN = in_advance(simulations=400, max_depth=8, prune_below=0.05, audit_share=1.0, min_visits=4)


def world(state: State) -> list[tuple[str, float]]:
    """Three calls at every step, then answers; the right one is deep down."""
    turns = turns_of(state)
    if len(turns) == 6:
        return [("right", 1.0)] if turns[:2] == ("call:capital", "call:area") else [("wrong", 1.0)]
    return [("call:capital", 0.4), ("call:area", 0.2), ("call:name", 0.1), (f"call:{HOSTILE}", 0.2), ("wrong", 0.1)]


def chance(state: State) -> float:
    return 0.01 if turns_of(state)[-1:] == (f"call:{HOSTILE}",) else 0.3


@pytest.fixture(scope="module")
def rows() -> tuple[NodeRow, ...]:
    verbs, _ = make_verbs(world, chance=chance)
    trees = search([PROBLEM], verbs, CHOSEN)
    audit(trees, verbs, CHOSEN)
    made_by = Provenance("0123456789abcdef", "fedcba9876543210")
    return tree_rows(trees[0], greedy_success=True, provenance=made_by, units=verbs.units, settings=CHOSEN)


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def page(rows: tuple[NodeRow, ...], complaints: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    path: Path = tmp_path_factory.mktemp("tree") / "tree.html"
    path.write_text(render_tree(rows, PROBLEM), encoding="utf-8")
    with opened(path, complaints) as page:
        yield page


def shown(page: Page) -> Locator:
    return page.locator(".node:visible")


def test_the_page_loads_without_errors_or_requests(
    page: Page, complaints: list[str], rows: tuple[NodeRow, ...]
) -> None:
    assert len(rows) > 300
    expect(page.locator("h1")).to_contain_text("area of the country")
    assert complaints == []
    assert page.evaluate("window.broken") is None  # text from data stays text


def test_at_first_everything_that_was_visited_is_shown(page: Page, rows: tuple[NodeRow, ...]) -> None:
    expect(shown(page)).to_have_count(sum(row.visits > 0 for row in rows))
    page.fill("#least", "0")
    expect(shown(page)).to_have_count(len(rows))


def test_fewer_visits_are_folded_away(page: Page, rows: tuple[NodeRow, ...]) -> None:
    page.fill("#least", "20")
    expect(shown(page)).to_have_count(sum(row.visits >= 20 for row in rows))
    page.fill("#least", "1")


def test_a_fold_hides_what_lies_below_and_shows_it_again(page: Page, rows: tuple[NodeRow, ...]) -> None:
    before = shown(page).count()
    first = page.locator('.node[data-place="0"]')
    first.locator(".fold").click()
    below = sum(row.visits > 0 and row.node_id.startswith(f"{rows[0].node_id}/0/") for row in rows)
    expect(shown(page)).to_have_count(before - below)
    first.locator(".fold").click()
    expect(shown(page)).to_have_count(before)


def test_close_all_leaves_the_first_level_and_open_all_brings_the_rest_back(page: Page) -> None:
    before = shown(page).count()
    page.click("#close")
    expect(shown(page)).to_have_count(1 + page.locator('.node[data-above=""][data-visits]:visible').count())
    page.click("#open")
    expect(shown(page)).to_have_count(before)


def test_finding_shows_what_matches_with_the_way_to_it(page: Page) -> None:
    page.fill("#find", "found area")
    hits = page.locator(".node.found")
    assert hits.count() > 5
    for index in range(3):
        expect(hits.nth(index)).to_be_visible()
    expect(page.locator("#shown")).to_contain_text(f"{hits.count()} found")
    page.fill("#find", "")


def test_the_chosen_path_is_marked_and_can_be_seen_alone(page: Page, rows: tuple[NodeRow, ...]) -> None:
    page.click("#way")
    chosen = sum(row.chosen for row in rows)
    expect(shown(page)).to_have_count(chosen)
    expect(shown(page).last.locator(".mark.correct")).to_be_visible()
    page.click("#way")


def test_a_click_shows_call_result_values_and_cost(page: Page) -> None:
    line = page.locator('.node[data-place="0"] > .row .line')
    detail = page.locator('.node[data-place="0"] > .detail')
    expect(detail).to_be_hidden()
    line.click()
    expect(detail.locator("pre.result")).to_have_text("found capital")
    expect(detail).to_contain_text("chance p-hat")
    expect(detail).to_contain_text("cost of this action")
    line.click()
    expect(detail).to_be_hidden()


def test_pruned_nodes_dead_ends_and_audits_are_marked(page: Page) -> None:
    for mark in ("pruned", "wrong", "audited", "solved", "untried"):
        assert page.locator(f".mark.{mark}").count() > 0, mark


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_never_scrolls_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_each_tree_of_many_gets_its_own_page(rows: tuple[NodeRow, ...]) -> None:
    other = tuple(replace(row, tree_id="other") for row in rows[:1])
    made = dict(pages((*rows, *other), {PROBLEM.problem_id: PROBLEM}))
    assert list(made) == [rows[0].tree_id, "other"]
    assert "tree other" in made["other"]
