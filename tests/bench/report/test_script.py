"""What the page's script does: tables sort, filter and copy, charts tell figures, the data can be saved."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from playwright.sync_api import expect

from bench import table
from bench.records import Status
from bench.report import render

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import SimpleNamespace

    from playwright.sync_api import Locator, Page

    from bench.results import RunResults

    Visit = Callable[..., AbstractContextManager[Page]]

pytestmark = pytest.mark.browser

PATIENT = 60_000  # milliseconds, for a machine that is busy
LATENCIES = {1: 0.5, 2: 2e-6, 4: 3e-3, 8: None, 16: 999e-6, 32: 1.0, 64: 1024e-6}
"""Seconds by batch size; as texts they would sort otherwise, and one is unknown."""

COPIES = (
    "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.copied = text; }}})"
)
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {value: undefined})"


def mixed(make: SimpleNamespace) -> RunResults:
    cases, outcomes = [], []
    for batch, seconds in LATENCIES.items():
        of = make.case("soft" if batch % 3 == 1 else "dense", batch_size=batch)
        cases.append(of)
        if seconds is None:
            outcomes.append(make.failed(of, Status.ERROR, 'ValueError: "no", it said'))
        else:
            outcomes += make.full(of, seconds, seconds * 1.01, seconds * 1.02, lost=0.125)
    return make.run(cases, outcomes, name='a "mixed", one')


def column(box: Locator, name: str) -> list[str]:
    """The texts of a column, of the rows that are shown."""
    heads = [head.strip() for head in box.locator("thead th").all_inner_texts()]
    return box.locator(f"tbody tr:not([hidden]) > :nth-child({heads.index(name) + 1})").all_inner_texts()


def figures(page: Page) -> Locator:
    return page.locator("#figures .scroll").first


def test_a_column_sorts_by_what_it_means_and_the_unknown_is_last(make: SimpleNamespace, visit: Visit) -> None:
    with visit(render([mixed(make)])) as page:
        box = figures(page)
        head = box.locator("thead th", has_text="latency")
        planned = column(box, "batch size")
        assert head.get_attribute("aria-sort") is None
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert column(box, "batch size") == ["2", "16", "64", "4", "1", "32", "8"]
        assert column(box, "latency")[-1] == "–"
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        assert column(box, "batch size") == ["32", "1", "4", "64", "16", "2", "8"]
        box.locator("thead th", has_text="layer").get_by_role("button").click()
        assert box.locator("[aria-sort]").count() == 1
        assert column(box, "layer") == sorted(column(box, "layer"))
        box.locator("thead th", has_text="batch size").get_by_role("button").click()
        assert column(box, "batch size") == ["1", "2", "4", "8", "16", "32", "64"]
        for _ in range(2):
            box.locator("thead th", has_text="batch size").get_by_role("button").click()
        assert box.locator("[aria-sort]").count() == 0
        assert column(box, "batch size") == planned


def test_rows_are_found_by_words_and_by_column_and_counted(make: SimpleNamespace, visit: Visit) -> None:
    with visit(render([mixed(make)])) as page:
        box, tools = figures(page), page.locator("#figures .tools")
        count = tools.locator(".count")
        search = tools.get_by_label("Filter rows of All figures, 7 cases")
        assert count.inner_text() == "7 rows"
        search.fill("SOFT  ok")
        assert count.inner_text() == "4 of 7 rows"
        assert column(box, "batch size") == ["1", "4", "16", "64"]
        tools.get_by_text("By column").click()
        tools.get_by_label("batch size").select_option("16")
        assert column(box, "latency") == ["1.01 ms"]
        search.fill("nothing has this")
        assert count.inner_text() == "0 of 7 rows"
        search.fill("")
        tools.get_by_label("batch size").select_option("all")
        tools.get_by_label("status").select_option("error")
        assert column(box, "batch size") == ["8"]


def test_a_link_to_a_row_shows_it_though_filtered_or_folded(make: SimpleNamespace, visit: Visit) -> None:
    with visit(render([mixed(make)])) as page:
        page.locator("#figures .tools input").fill("soft")
        row = page.locator("#figures tbody tr", has_text="error")
        assert not row.is_visible()
        page.locator("#failures a").first.click()
        expect(row).to_be_visible(timeout=PATIENT)
        assert page.locator("#figures .count").inner_text() == "7 rows"


def test_short_tables_and_lists_of_facts_have_no_controls(quick_page: str, visit: Visit) -> None:
    with visit(quick_page) as page:
        assert page.locator("#environment").get_by_role("button").count() == 0
        assert page.locator("#figures").get_by_role("button", name="Copy as CSV").count() == 1


def test_copied_rows_are_those_shown_with_nine_digits_and_base_units(make: SimpleNamespace, visit: Visit) -> None:
    found = mixed(make)
    with visit(render([found]), before=COPIES) as page:
        page.locator("#figures thead button", has_text="latency").click()
        page.locator("#figures .tools input").fill("dense")
        page.locator("#figures").get_by_role("button", name="Copy as CSV").click()
        page.get_by_text("3 rows copied").wait_for()
        frame = pd.read_csv(io.StringIO(page.evaluate("window.copied")))
    wanted = {int(result.case["batch_size"]): result.figures.get("latency") for result in found.cases}
    assert list(frame["batch size"]) == [2, 32, 8]
    assert list(frame["layer"].unique()) == ["Dense FFN"]
    for batch, low, value, high in zip(
        frame["batch size"],
        frame["95 % interval low (s)"],
        frame["latency (s)"],
        frame["95 % interval high (s)"],
        strict=True,
    ):
        if batch == 8:
            assert pd.isna([low, value, high]).all()
        else:
            interval = wanted[batch].interval
            assert (low, value, high) == pytest.approx((interval.low, interval.estimate, interval.high), rel=1e-8)
    assert set(frame["drop rate (ratio)"].dropna()) == {0.125}


def test_without_a_clipboard_the_rows_stand_ready_to_be_copied(make: SimpleNamespace, visit: Visit) -> None:
    with visit(render([mixed(make)]), before=NO_CLIPBOARD) as page:
        page.locator("#figures").get_by_role("button", name="Copy as CSV").click()
        area = page.get_by_label("The rows as CSV, to copy")
        assert len(area.input_value().splitlines()) == 8
        assert area.evaluate("area => area.selectionEnd - area.selectionStart === area.value.length")
        page.keyboard.press("Tab")
        assert area.count() == 0


def bring(chart: Locator) -> None:
    """Scrolls to a chart and waits until the page has taken note, since what is shown goes when it scrolls."""
    chart.scroll_into_view_if_needed()
    chart.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_a_mark_tells_its_figure_to_pointer_and_keys(quick_page: str, visit: Visit) -> None:
    with visit(quick_page) as page:
        tip, chart = page.locator(".tip"), page.locator("#summary svg").first
        chart.locator(".spot").nth(1).hover()
        assert tip.inner_text() == "Experts choice · indexed\n2.00 ms ±12 %, 95 % interval 1.76 to 2.26 ms"
        page.keyboard.press("Escape")
        assert tip.inner_text() == ""
        page.mouse.move(0, 0)
        page.locator("#summary a").last.focus()
        page.keyboard.press("Tab")
        assert tip.inner_text().startswith("Dense FFN\n1.01 ms")
        page.keyboard.press("ArrowDown")
        assert tip.inner_text().startswith("Experts choice")
        page.keyboard.press("End")
        assert tip.inner_text().startswith("Tokens choice")
        page.keyboard.press("Tab")
        assert "8.08 ms" in tip.inner_text()
        page.mouse.wheel(0, 200)
        expect(page.locator("h1")).not_to_be_in_viewport(timeout=PATIENT)
        assert "8.08 ms" in tip.inner_text()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        assert tip.inner_text() == ""
        curve = page.locator("#scaling svg").first
        bring(curve)
        curve.locator(".spot").last.hover()
        assert "experts 32" in tip.inner_text() or "experts 8" in tip.inner_text()
        stack = page.locator("#memory svg").first
        bring(stack)
        stack.locator(".spot").first.hover()
        assert tip.inner_text() == "Dense FFN\npeak 3.00 MiB: weights 2.00 MiB; activations 1.00 MiB"
        page.mouse.wheel(0, 400)
        expect(tip).to_have_text("", timeout=PATIENT)
        assert page.locator("svg .spot > title").count() == 0


def test_a_finger_can_ask_too(quick_page: str, visit: Visit) -> None:
    with visit(quick_page, has_touch=True, viewport={"width": 390, "height": 844}) as page:
        page.locator("#summary .spot").nth(2).tap()
        assert "95 % interval 1.97 to 2.07 ms" in page.locator(".tip").inner_text()
        box = page.locator(".tip").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def test_the_saved_rows_are_those_of_the_export(make: SimpleNamespace, visit: Visit, tmp_path: Path) -> None:
    case = make.case("soft", capacity_factor=1.5)
    found = [mixed(make), make.quick(), make.run([case], make.timed(case, 0.01), name="</script>\n&,")]
    with visit(render(found), accept_downloads=True) as page:
        with page.expect_download() as caught:
            page.get_by_role("button", name="Download the data (CSV)").click()
        name, path = caught.value.suggested_filename, Path(caught.value.path())
        saved = path.read_text(encoding="utf-8")
    table.summary(found).to_csv(tmp_path / "wanted.csv", index=False)
    wanted = (tmp_path / "wanted.csv").read_text(encoding="utf-8")
    assert name == "a-mixed-one-quick-1-script.csv"
    frames = [pd.read_csv(io.StringIO(text)) for text in (saved, wanted)]
    pd.testing.assert_frame_equal(*frames, check_exact=False, rtol=1e-8, atol=0, check_dtype=False)
    assert saved.splitlines()[0] == wanted.splitlines()[0]
