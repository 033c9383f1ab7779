"""The page in a real browser: quiet, readable by everybody, in light and dark, wide and narrow, on paper."""

from __future__ import annotations

import io
import re
import unicodedata
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from pypdf import PdfReader

from bench.records import Status
from bench.report import render

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import SimpleNamespace

    from playwright.sync_api import Page

    Visit = Callable[..., AbstractContextManager[Page]]

pytestmark = pytest.mark.browser

PATIENT = 60_000  # milliseconds, for a machine that is busy
NARROW = {"width": 390, "height": 844}
WIDE = {"width": 1280, "height": 800}
HOSTILE = "</script><img src=x onerror=\"window.hacked='name'\"><b>"


def violations(page: Page) -> list[str]:
    """What axe-core finds that keeps somebody from reading the page."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")]


def colour(page: Page, what: str = "background-color") -> str:
    return page.evaluate(f"getComputedStyle(document.body).getPropertyValue('{what}')")


@pytest.fixture(scope="module")
def long_page(make: SimpleNamespace) -> str:
    """Every kind of thing: two runs, failures, folds, long names."""
    outside = "a" * 150 + ":B" + "c" * 100
    cases = [make.case("soft", num_experts=2**e, batch_size=2**b) for e in range(1, 4) for b in range(5)]
    bad = [make.case("soft", num_experts=6, batch_size=2**b) for b in range(8)]
    outcomes = [o for i, of in enumerate(cases) for o in make.full(of, *(0.001 * (i + r) for r in (1, 1.01, 1.02)))]
    outcomes += [make.failed(of, Status.ERROR, f"Traceback\n  File x\nValueError: {HOSTILE}") for of in bad]
    other = make.case(outside)
    runs = [make.run([*cases, *bad, other], [*outcomes, *make.timed(other, 1, 1.1, 1)], name=n, id=n) for n in "ab"]
    return render(runs)


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_the_page_and_it_scrolls_one_way(
    long_page: str, visit: Visit, scheme: str, viewport: dict[str, int]
) -> None:
    with visit(long_page, color_scheme=scheme, viewport=viewport) as page:
        assert page.locator("svg").count() > 10
        page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
        assert violations(page) == []


def test_what_is_wrong_would_be_caught(visit: Visit) -> None:
    bad = '<!DOCTYPE html><html><body><img src="http://127.0.0.1:9/x.png"><script>console.error("boo")</script></body>'
    with pytest.raises(AssertionError) as caught, visit(bad) as page:
        assert {found.split(":")[0] for found in violations(page)} == {"document-title", "html-has-lang", "image-alt"}
    assert "http://127.0.0.1:9/x.png" in str(caught.value)
    assert "boo" in str(caught.value)


def test_without_scripts_everything_stands_there(quick_page: str, visit: Visit) -> None:
    with visit(quick_page, java_script_enabled=False) as page:
        assert page.locator("svg.chart").count() == quick_page.count("<svg")
        assert page.locator("table tbody tr").first.is_visible()
        assert page.locator("button, select, input").count() == 0
        assert page.get_by_text("the JSON in the source of this page").is_visible()
        assert page.locator(".spot > title").count() > 40


def test_colours_follow_the_system_until_the_reader_says_otherwise(quick_page: str, visit: Visit) -> None:
    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 27)"
    with visit(quick_page, color_scheme="dark") as page:
        switch = page.get_by_label("Colours")
        assert colour(page) == dark
        switch.select_option("light")
        assert colour(page) == light
        page.emulate_media(color_scheme="light")
        switch.select_option("dark")
        assert colour(page) == dark
        assert (
            page.locator("svg.chart").first.evaluate("chart => getComputedStyle(chart).color") == "rgb(230, 233, 237)"
        )
        assert violations(page) == []
        page.emulate_media(media="print")
        assert (colour(page), colour(page, "color")) == (light, "rgb(0, 0, 0)")
        page.emulate_media(media="screen")
        switch.select_option("auto")
        assert colour(page) == light


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_paper_has_everything_but_the_controls(quick_page: str, visit: Visit, *, scripts: bool) -> None:
    with visit(quick_page, java_script_enabled=scripts, color_scheme="dark") as page:
        pages = PdfReader(io.BytesIO(page.pdf())).pages
        text = unicodedata.normalize("NFKC", "".join(part.extract_text() for part in pages))
        assert page.locator("section details[open]").count() == 1
    assert len(pages) < 20
    assert "How to read the figures" in text
    assert "Latency s lower" in text  # from a table that is folded on the screen
    assert "The 8 cases" in text
    assert not re.search(r"Filter rows|Copy as CSV|Download|By column|Skip to", text)


def test_no_table_is_wider_than_the_paper(long_page: str, visit: Visit) -> None:
    upright, lying = 718, 1047  # CSS pixels of A4 within margins of one centimetre
    too_wide = "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth).length"
    with visit(long_page, viewport={"width": upright, "height": 900}) as page:
        page.emulate_media(media="print")
        assert page.locator("section:not(#figures) .scroll").evaluate_all(too_wide) == 0
        page.set_viewport_size({"width": lying, "height": 700})
        assert page.locator("#figures .scroll").evaluate_all(too_wide) == 0


def test_keys_reach_everything_in_order(quick_page: str, visit: Visit) -> None:
    with visit(quick_page) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
        assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_bars_that_stay_hide_no_target(long_page: str, visit: Visit) -> None:
    with visit(long_page) as page:
        row = page.locator("tbody tr[id]").nth(40)
        anchor = row.get_attribute("id")
        page.evaluate(f"location.hash = '{anchor}'")
        expect(row).to_be_in_viewport(timeout=PATIENT)
        top, bottom = row.evaluate("row => [row.getBoundingClientRect().top, row.getBoundingClientRect().bottom]")
        head = row.evaluate("row => row.closest('table').tHead.getBoundingClientRect().bottom")
        bar = page.evaluate("document.querySelector('.bar').getBoundingClientRect().bottom")
        assert top >= max(head, bar) - 1
        assert bottom <= page.viewport_size["height"]


def test_hostile_names_stay_text(make: SimpleNamespace, visit: Visit) -> None:
    cases = [make.case("soft", input=f"{HOSTILE}{i}") for i in range(7)]
    outcomes = [o for i, of in enumerate(cases) for o in make.full(of, 0.1 + i, 0.1 + i)]
    text = render([make.run(cases, outcomes, name=HOSTILE, description=HOSTILE, command=HOSTILE)])
    with visit(text) as page:
        assert page.title().startswith(HOSTILE)
        assert page.locator("h1").inner_text() == HOSTILE
        assert page.locator("img, b").count() == 0
        page.locator("#scaling .spot").last.hover()
        assert HOSTILE in page.locator(".tip").inner_text()
        assert page.evaluate("window.hacked") is None
