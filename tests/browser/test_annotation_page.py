"""The annotation page in a real browser, served by a real server: keys, two people at once, refusals, telephones."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from annotating import case, workplace, written
from browser_page import launched, watched
from playwright.sync_api import Browser, Page, expect

from components.annotation.app import make_app
from components.annotation.case import Complaint
from components.annotation.workplace import Workplace
from components.schema.annotation import AnnotatedCall, Demonstration, Preference

CASES = 6


@contextlib.contextmanager
def _served(place: Workplace) -> Iterator[str]:
    ready = threading.Event()
    app = make_app(place, after=lambda added: None)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    startup = server.startup

    async def started(sockets: object = None) -> None:
        await startup()
        ready.set()

    server.startup = started  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return workplace(tmp_path, [case(number) for number in range(CASES)])


@pytest.fixture
def url(place: Workplace) -> Iterator[str]:
    with _served(place) as url:
        yield url


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    heard: list[str] = []
    yield heard
    assert heard == []


def _signed_in(browser: Browser, url: str, complaints: list[str], name: str = "Ada") -> Page:
    page = watched(browser, complaints, own=url)
    page.goto(url)
    expect(page.locator("#name")).to_be_focused()  # by itself, which a loaded page may still be about to do
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    expect(page.locator("#quick")).to_be_visible()
    page.wait_for_load_state()  # the case stands in the page before the script that listens to keys has run
    return page


def _saved(page: Page, count: int) -> None:
    expect(page.locator(".count")).to_contain_text(f"Ada: {count}")
    page.wait_for_load_state()  # the count stands in the page before the script that listens to keys has run


def test_a_case_shows_proposal_alternatives_with_q_and_cost_and_what_each_call_returned(
    browser: Browser, url: str, complaints: list[str]
) -> None:
    page = _signed_in(browser, url, complaints)
    expect(page.locator("h1")).to_contain_text("How large is Chad")
    first, second = page.locator("article").nth(0), page.locator("article").nth(1)
    expect(first).to_contain_text("The model would")
    expect(first).to_contain_text("area of Chad")
    expect(first.locator("pre.result").first).to_have_text("found")
    expect(second.locator(".figures")).to_contain_text("0.50")
    expect(second.locator(".figures")).to_contain_text("1.00")
    expect(page.locator("main")).to_contain_text("the policy would take search, returns favour python")
    assert page.evaluate("window.broken") is None  # text from data stays text


def test_all_verdicts_can_be_given_by_keys_alone(
    browser: Browser, url: str, complaints: list[str], place: Workplace
) -> None:
    page = _signed_in(browser, url, complaints)
    page.keyboard.press("a")
    _saved(page, 1)
    page.keyboard.press("n")
    _saved(page, 2)
    page.keyboard.press("3")
    page.keyboard.press("Shift+2")
    page.keyboard.press("p")
    _saved(page, 3)
    page.keyboard.press("c")
    page.keyboard.press("Control+a")
    page.keyboard.type("p and n and a are letters here")
    page.keyboard.press("Control+Enter")
    _saved(page, 4)
    page.keyboard.press("s")
    expect(page.locator(".told")).to_have_text("Left to others.")
    rows = written(place)
    assert [row.kind for row in rows].count("demonstration") == 3
    preference = next(row for row in rows if isinstance(row, Preference))
    assert preference.rejected == AnnotatedCall(tool="python", arguments={"code": "2 + 2"})
    queries = {str(row.steps[0].arguments) for row in rows if isinstance(row, Demonstration) and row.steps}
    assert "{'query': 'p and n and a are letters here'}" in queries


def test_the_tool_can_be_corrected_and_only_its_arguments_are_asked_for(
    browser: Browser, url: str, complaints: list[str], place: Workplace
) -> None:
    page = _signed_in(browser, url, complaints)
    code = page.locator("[id='call0.python.code']")
    expect(code).to_be_hidden()
    page.locator("input[name=call0][value=python]").check()
    expect(code).to_be_visible()
    expect(page.locator("[id='call0.search.query']")).to_be_hidden()
    code.fill("3 * 4")
    page.click("#save-correction")
    _saved(page, 1)
    (row,) = written(place)
    assert isinstance(row, Demonstration)
    assert row.steps == (AnnotatedCall(tool="python", arguments={"code": "3 * 4"}),)


def test_a_refused_entry_is_explained_and_kept(browser: Browser, url: str, place: Workplace) -> None:
    heard: list[str] = []
    page = _signed_in(browser, url, heard)
    page.locator("[id='call0.search.query']").fill(" ")
    page.fill("#answer", "kept")
    page.click("#save-correction")
    expect(page.locator("[role=alert]")).to_contain_text("steps[0].arguments.query")
    expect(page.locator("#answer")).to_have_value("kept")
    assert written(place) == ()
    assert all("422" in one for one in heard)  # the browser tells the refusal's status, and nothing else


def test_two_annotators_at_once_share_the_queue_and_neither_loses_a_row(
    browser: Browser, url: str, complaints: list[str], place: Workplace
) -> None:
    pages = [_signed_in(browser, url, complaints, name) for name in ("Ada", "Bob")]
    seen = [page.locator("h1").inner_text() for page in pages]
    assert seen[0] != seen[1]
    done = 0
    while any(page.locator("#accept").count() for page in pages):
        for page in pages:
            if page.locator("#accept").count():
                before = page.url
                page.keyboard.press("a")
                page.wait_for_url(lambda now, before=before: now.partition("?")[0] != before.partition("?")[0])
                done += 1
    rows = written(place)
    assert done == len(rows) == CASES
    assert len({row.prompt for row in rows}) == CASES
    assert {row.annotator for row in rows} == {"Ada", "Bob"}
    expect(pages[0].locator("h1")).to_contain_text("Nothing is left for you")


def test_going_back_and_sending_again_adds_nothing(
    browser: Browser, url: str, complaints: list[str], place: Workplace
) -> None:
    page = _signed_in(browser, url, complaints)
    first = page.url
    page.keyboard.press("a")
    _saved(page, 1)
    page.goto(first)
    expect(page.locator(".told")).to_contain_text("your first word stands")
    assert len(written(place)) == 1


def test_a_page_of_another_site_cannot_post_for_the_annotator(browser: Browser, url: str, place: Workplace) -> None:
    context = browser.new_context()
    page, evil = context.new_page(), context.new_page()
    page.goto(url)
    page.fill("#name", "Ada")
    page.keyboard.press("Enter")
    expect(page.locator("#quick")).to_be_visible()
    form = f'<form method="post" action="{page.url}"><input name="verdict" value="accept"></form>'
    evil.set_content(f"{form}<script>document.forms[0].submit()</script>")
    expect(evil.locator("body")).to_contain_text("refused")
    assert written(place) == ()


def test_progress_and_agreement_are_shown(browser: Browser, url: str, complaints: list[str], place: Workplace) -> None:
    for number in range(3):
        place.save(case(number), "accept", {}, "Bob")
        place.save(case(number), "accept" if number else "no_tool", {}, "Cy")
    page = _signed_in(browser, url, complaints)
    page.goto(url)
    expect(page.locator("main")).to_contain_text(f"3 of {CASES} cases annotated")
    expect(page.locator("table").nth(1).locator("td")).to_have_text(["Bob · Cy", "3", "67 %", "0.00"])


def test_feedback_of_users_comes_first_with_its_correction_filled_in(
    browser: Browser, tmp_path: Path, complaints: list[str]
) -> None:
    said = Complaint("f1", "resp-1", "down", "It was Ada.", "Who was it?", "Nobody.")
    served = case(prompt="Who was it?", alternatives=(), known_answer=None, feedback=(said,), family="served")
    place = workplace(tmp_path, [case(1), served])
    with _served(place) as url:
        page = _signed_in(browser, url, complaints)
        expect(page.locator("h1")).to_have_text("Who was it?")
        expect(page.locator(".feedback")).to_contain_text("Nobody.")
        expect(page.locator("#reference")).to_have_value("It was Ada.")
        page.fill("#key", "Ada")
        page.click("#save-correction")
        _saved(page, 1)
    (row,) = written(place)
    assert isinstance(row, Demonstration)
    assert row.reference is not None
    assert row.reference.answer == "Ada"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("path", ["/", "/queue", "/next"])
def test_no_page_scrolls_sideways(browser: Browser, url: str, complaints: list[str], width: int, path: str) -> None:
    page = _signed_in(browser, url, complaints)
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(url + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
