"""The index: every run with a link to its report, and nothing made again that is as it was."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest

from bench.records import Environment, Status
from bench.report import index, page

if TYPE_CHECKING:
    from pathlib import Path
    from types import SimpleNamespace

    from bench.results import RunResults

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\n" + "x" * 10_000


def small(make: SimpleNamespace, number: int, **more: object) -> RunResults:
    case = make.case()
    return make.run([case], make.timed(case, 0.01, 0.011, 0.012), name=f"quick-{number}", id=f"{number:012x}", **more)


def rows(text: str) -> list[list[str]]:
    found = re.findall(r"<tr.*?</tr>", text, flags=re.DOTALL)[1:]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in found]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in cells]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "index-runs").mkdir()
    return tmp_path / "index.html"


def test_a_row_for_each_run_newest_first_with_a_link_that_leads_somewhere(make: SimpleNamespace, site: Path) -> None:
    cases = [make.case(), make.case("soft")]
    outcomes = [*make.timed(cases[0], 0.01, 0.01), make.failed(cases[1], Status.CRASHED, "signal 9")]
    newest = make.run(cases, outcomes, name="quick-2", id="2" * 12, state="interrupted")
    git = {"git": {"commit": "abcdef0123456789", "branch": "main", "dirty": True}}
    newest.run.environment.informational.update(git)
    done = list(index.write([newest, small(make, 1)], site, {"main": f"{1:012x}", "v1": f"{1:012x}"}))
    assert [stale for _, stale in done] == [True, True]
    text = site.read_text(encoding="utf-8")
    where = ["2026-09-21 14:13", "Test CPU, 2 cores", "quick"]
    assert rows(text) == [
        ["quick-2", *where, "2", "1", "1", "1 min 30 s", "abcdef0+", "", "interrupted"],
        ["quick-1", *where, "1", "1", "0", "1 min 30 s", "–", "main, v1", "complete"],
    ]
    links = re.findall(r'<a href="([^"#]+)"', text)
    assert links == [f"index-runs/{'2' * 12}.html", f"index-runs/{1:012x}.html"]
    for link, found in zip(links, (newest, small(make, 1)), strict=True):
        assert (site.parent / link).read_text(encoding="utf-8") == page.render([found])
    assert index.ours(site)


def test_the_page_needs_no_other_file_and_nothing_from_elsewhere(make: SimpleNamespace, site: Path) -> None:
    list(index.write([small(make, 1)], site, {}))
    text = site.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)


def test_an_unchanged_run_is_left_as_it_is(make: SimpleNamespace, site: Path) -> None:
    list(index.write([small(make, 1)], site, {}))
    first = site.read_bytes()
    report = site.parent / "index-runs" / f"{1:012x}.html"
    report.write_text("left alone")
    assert [stale for _, stale in index.write([small(make, 1)], site, {})] == [False]
    assert report.read_text() == "left alone"
    assert site.read_bytes() == first


def test_a_changed_run_a_lost_report_and_another_program_make_it_anew(
    make: SimpleNamespace, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(run: RunResults) -> list[bool]:
        return [anew for _, anew in index.write([run], site, {})]

    assert stale(small(make, 1)) == [True]
    (site.parent / "index-runs" / f"{1:012x}.html").unlink()
    assert stale(small(make, 1)) == [True]
    assert stale(small(make, 1, state="interrupted")) == [True]
    case = make.case()
    more = make.run([case], make.timed(case, 0.01, 0.011, 0.012, 0.013), name="quick-1", id=f"{1:012x}")
    assert stale(more) == [True]
    assert stale(more) == [False]
    monkeypatch.setattr(index, "_program", lambda: "another")
    assert stale(more) == [True]


def test_whatever_users_write_is_shown_as_text_of_bounded_length(make: SimpleNamespace, site: Path) -> None:
    case = make.case()
    run = make.run([case], make.timed(case, 0.01), name=HOSTILE, grid=HOSTILE, comparable={"cpu": HOSTILE},
                   id="../../etc", state=HOSTILE)  # fmt: skip
    run.run.environment.informational["git"] = {"commit": HOSTILE, "dirty": False}
    list(index.write([run], site, {HOSTILE: "../../etc"}))
    text = site.read_text(encoding="utf-8")
    assert "<img" not in text
    assert text.count("</script>") == 1  # the page's own
    assert "\u202e" not in text
    assert "&lt;/script&gt;" in text
    assert max(len(html.unescape(cell)) for row in rows(text) for cell in row) <= index.LONGEST + len(", 2 cores")
    (written,) = (site.parent / "index-runs").iterdir()
    assert re.fullmatch(r"[0-9a-f]{12}\.html", written.name)
    assert "<img" not in written.read_text(encoding="utf-8")


def test_an_empty_store_and_a_run_without_facts_are_pages(make: SimpleNamespace, site: Path) -> None:
    assert list(index.write([], site, {})) == []
    assert "The store has no run yet." in site.read_text(encoding="utf-8")
    found = make.run([], [], grid="")
    bare = type(found)(type(found.run)(**{**vars(found.run), "environment": Environment(), "finished": None}), ())
    list(index.write([bare], site, {}))
    assert rows(site.read_text(encoding="utf-8"))[0][2:9] == ["unknown processor", "–", "0", "0", "0", "–", "–"]
