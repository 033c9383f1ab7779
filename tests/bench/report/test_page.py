"""The page as a whole: one file, nothing from elsewhere, valid, escaped, the same each time."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import results
from bench.records import Status
from bench.report import render, write
from bench.store import open_store

if TYPE_CHECKING:
    from types import SimpleNamespace

VOID = {"meta", "br", "hr", "img", "link", "input", "path", "use", "rect", "circle"}


class Page(HTMLParser):
    """Elements with their attributes; fails on a closing tag that does not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID or "svg" in self.open:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "svg", "script"} & set(self.open):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes, _ in self.elements if name == tag]


def sections(text: str) -> list[str | None]:
    return [attributes["id"] for attributes in Page(text).all("section")]


def test_nothing_comes_from_elsewhere(quick_page: str) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", quick_page)
    page = Page(quick_page)
    links = [v for _, attributes, _ in page.elements for k, v in attributes.items() if k in {"href", "src", "action"}]
    assert links
    assert all(link.startswith("#") for link in links)
    assert not {"link", "iframe", "img", "object", "base"} & {tag for tag, *_ in page.elements}


def test_only_our_one_script_may_run(quick_page: str) -> None:
    page = Page(quick_page)
    assert page.all("script") == [{"type": "application/json", "id": "rows"}, {}]
    script = quick_page.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    assert not [key for _, attributes, _ in page.elements for key in attributes if key.startswith("on")]


def test_tags_close_and_ids_are_unique_and_every_link_has_a_target(quick_page: str) -> None:
    page = Page(quick_page)
    assert page.open == []
    ids = Counter(attributes["id"] for _, attributes, _ in page.elements if "id" in attributes)
    assert [name for name, times in ids.items() if times > 1] == []
    assert all(re.fullmatch(r"[A-Za-z][\w.-]*", name) for name in ids)
    wanted = {attributes["href"][1:] for _, attributes, _ in page.elements if "href" in attributes}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", quick_page))
    assert wanted <= set(ids)


def test_every_chart_says_in_words_what_it_shows(quick_page: str) -> None:
    page = Page(quick_page)
    ids = {attributes["id"] for _, attributes, _ in page.elements if "id" in attributes}
    charts = page.all("svg")
    assert len(charts) >= 10
    for chart in charts:
        assert chart["role"] == "img"
        assert set(chart["aria-labelledby"].split()) <= ids
    words = re.search(r'<desc id="latency-0-desc">([^<]*)</desc>', quick_page)[1]
    assert words.startswith("latency, shorter is better in rows. Dense FFN: 1.01 ms ±2 %; ")
    words = re.search(r'<desc id="scaling-batch_size-0-latency-desc">([^<]*)</desc>', quick_page)[1]
    assert "Dense FFN: 1.01 ms at 1, 8.08 ms at 8" in words


def test_words_in_charts_are_text_and_colours_follow_the_page(quick_page: str) -> None:
    assert ">latency, shorter is better (ms)</text>" in quick_page
    assert "currentColor" in quick_page
    assert not re.search(r'(fill|stroke)="[^"]*var\(', quick_page)
    for stand_in in ("#010203", "#040506", "#070809"):
        assert stand_in not in quick_page


def test_sections_follow_their_table(quick_page: str) -> None:
    order = "summary pareto scaling memory flops roofline routing accuracy figures caveats environment data reproduce"
    assert sections(quick_page) == order.split()


def test_same_runs_same_bytes(make: SimpleNamespace, quick_page: str) -> None:
    assert render([make.quick()]) == quick_page


def test_size_stays_small(quick_page: str) -> None:
    assert len(quick_page.encode()) < 600_000


def test_two_hundred_cases_stay_a_page(make: SimpleNamespace) -> None:
    cases = [
        make.case(layer, backend=backend, num_experts=2**e, batch_size=2**b)
        for layer, backend in (
            ("soft", "fused"),
            ("soft", "einsum"),
            ("token_choice", "loop"),
            ("expert_choice", "einsum"),
        )
        for e in range(1, 8)
        for b in range(8)
    ]
    outcomes = [o for i, of in enumerate(cases) for o in make.full(of, *(0.001 * (i + r) for r in (1, 1.01, 1.02)))]
    text = render([make.run(cases, outcomes)])
    page = Page(text)
    assert len(cases) == 224
    assert len(text.encode()) < 3_000_000
    assert len(page.all("svg")) <= 40
    told = " ".join(page.text)
    assert "4 of 8 workloads are drawn" in told
    assert "48 rows beyond the first 16 of a chart left out" in told
    assert text.count('id="case-1-') == 224


ATTACK = "<script>alert(1)</script>\"'&$x_{1}$"


def test_whatever_users_write_is_escaped(make: SimpleNamespace) -> None:
    case = make.case("soft")
    outcomes = [make.failed(case, Status.ERROR, f"\x1b[31mTraceback\x1b[0m\n  {ATTACK}\x00\nValueError: {ATTACK}")]
    outside = make.case("soft")
    run = make.run(
        [case, outside.with_axes(input=ATTACK)],
        [*outcomes, *make.full(outside.with_axes(input=ATTACK), 0.1, 0.1, flags=("a<b>",))],
        name=ATTACK,
        description=ATTACK,
        command=ATTACK,
        grid=ATTACK,
        comparable={"cpu": ATTACK, "<i>": ATTACK},
    )
    text = render([run, make.run([case], [], name="_other")])
    assert len(Page(text).all("script")) == 2
    assert "<script>alert" not in text
    assert "<i>" not in text
    assert "<b>" not in text
    assert "\x1b" not in text
    assert "\x00" not in text
    assert Page(text).open == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_half_character_does_not_stop_the_page(make: SimpleNamespace, tmp_path: Path) -> None:
    of = make.case()
    write([make.run([of], [make.failed(of, Status.ERROR, "bad \udcff byte")])], tmp_path / "x.html")
    assert "bad  byte" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_write_replaces_whole_files_and_leaves_nothing_beside(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write([make.run([make.case()], [])], path)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]
    path.write_text("old")

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", broken)
    with pytest.raises(OSError, match="No space"):
        write([make.run([make.case()], [])], path)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]


def test_no_run_is_no_report() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        render([])


def test_rendering_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, bench.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("wanted", ["failed", "single", "inspected", "nothing", "outside", "none", "long"])
def test_unusual_runs_make_a_page(make: SimpleNamespace, wanted: str) -> None:
    dense, soft = make.case(), make.case("soft")
    outside = [make.case("my.pkg:Factory"), make.case("_my.pkg:Factory", num_experts=4)]
    runs = {
        "failed": make.run([dense, soft], [make.failed(c, Status.CRASHED, "signal 9") for c in (dense, soft)]),
        "single": make.run([dense], make.full(dense, 0.1)),
        "inspected": make.run([dense, soft], [make.inspection(dense, peak_memory=5, parameter_memory=1)]),
        "nothing": make.run([dense, soft], [], state="running"),
        "outside": make.run([dense, *outside], [o for of in (dense, *outside) for o in make.timed(of, 1, 1.1, 1)]),
        "none": make.run([], []),
        "long": make.run(
            [make.case("a" * 150 + ":B" + "c" * 100)],
            make.timed(make.case("a" * 150 + ":B" + "c" * 100), 1, 2, 3),
            name="n" * 200,
        ),
    }
    page = Page(render([runs[wanted]]))
    assert page.open == []
    assert page.all("h1")


# odd runs: what a reader sees


def seen(text: str) -> str:
    return re.sub(r"\s+", " ", " ".join(Page(text).text))


def test_an_empty_run_says_so(make: SimpleNamespace) -> None:
    text = render([make.run([], [])])
    assert sections(text) == ["summary", "environment", "reproduce"]
    assert "0 of 0 cases ok The run has no case." in seen(text)
    assert "badge good" not in text


def test_where_all_failed_the_reasons_are_the_report(make: SimpleNamespace) -> None:
    cases = [make.case(), make.case("soft")]
    outcomes = [make.failed(cases[0], Status.OUT_OF_MEMORY, "needs 20 GiB of 16 GiB")]
    text = render([make.run(cases, [*outcomes, make.failed(cases[1], Status.ERROR, "Traceback\nValueError: boom")])])
    assert sections(text) == ["summary", "figures", "failures", "environment", "data", "reproduce"]
    assert "0 of 2 cases ok 2 failed" in seen(text)
    assert "badge good" not in text, "nothing is green where nothing went well"
    assert "No case ended well, so there is no answer; the reasons are under Failures." in seen(text)
    assert "out of memory 1 case needs 20 GiB of 16 GiB" in seen(text)
    assert "error 1 case ValueError: boom" in seen(text)


@pytest.mark.parametrize(
    ("lacking", "without", "still"),
    [("latency", {"scaling"}, {"memory"}), ("memory", {"memory"}, {"scaling"}), ("flops", set(), {"memory"})],
)
def test_a_missing_metric_is_a_dash_and_never_zero(
    make: SimpleNamespace, lacking: str, without: set[str], still: set[str]
) -> None:
    cases = [make.case("soft", num_experts=n) for n in (2, 4)]
    if lacking == "flops":
        cases = [case.with_axes(layer=f"some.module:Layer{i}") for i, case in enumerate(cases)]
    looked = {"peak_memory": 3 * 2**20, "activation_memory": 2**20, "parameter_memory": 2 * 2**20}
    outcomes = [] if lacking == "memory" else [make.inspection(of, **looked) for of in cases]
    outcomes += [] if lacking == "latency" else [o for of in cases for o in make.timed(of, 0.01, 0.0101, 0.0102)]
    text = render([make.run(cases, outcomes)])
    assert not without & set(sections(text))
    assert still <= set(sections(text))
    row = re.search(r'<tr id="case-1-.*?</tr>', text, flags=re.DOTALL)[0]
    cells = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td.*?</td>", row, flags=re.DOTALL)]
    assert "–" in cells
    assert not {"0", "0 s", "0 B", "0 FLOP", "nan", "None", "inf"} & set(cells)
    if lacking == "latency":
        assert "none was timed, so nothing can be said of speed" in seen(text)


def test_number_formats_are_told_apart_everywhere(make: SimpleNamespace) -> None:
    cases = [make.case(layer, dtype=dtype) for layer in ("dense", "soft") for dtype in ("float32", "bfloat16")]
    text = render([make.run(cases, [o for i, of in enumerate(cases) for o in make.full(of, *[0.01 * (i + 1)] * 3)])])
    assert "Float32 Dense FFN is the fastest of 2 designs" in seen(text)
    assert "Bfloat16 Dense FFN is the fastest of 2 designs" in seen(text)
    assert {"Latency, float32", "Latency, bfloat16"} <= set(re.findall(r"<title id=[^>]*>([^<]*)<", text))


def test_an_interrupted_run_says_what_it_lacks(make: SimpleNamespace) -> None:
    cases = [make.case(), make.case("soft")]
    text = seen(render([make.run(cases, make.full(cases[0], 0.01, 0.011, 0.012), state="interrupted")]))
    assert "1 of 2 cases ok 1 not measured run interrupted" in text
    assert "1 of 2 cases have no full answer and are not ranked; see Failures." in text
    assert "The run ended before this case was measured. Soft MoE · fused" in text


def test_ten_thousand_cases_of_which_few_were_measured_are_a_small_page(make: SimpleNamespace) -> None:
    cases = [
        make.case("soft", num_experts=experts, batch_size=batch, seq_len=tokens)
        for experts in range(1, 101)
        for batch in range(1, 11)
        for tokens in range(10, 20)
    ]
    outcomes = [o for of in cases[:2] for o in make.full(of, 0.01, 0.011, 0.012)]
    text = render([make.run(cases, outcomes, state="interrupted")])
    assert len(text.encode()) < 400_000
    page = Page(text)
    assert "2 of 10000 cases ok 9998 not measured" in seen(text)
    assert "Without a row: 9998 cases that were not measured." in seen(text)
    assert "and 9798 more" in seen(text)
    ids = {attributes["id"] for _, attributes, _ in page.elements if "id" in attributes}
    assert {a["href"][1:] for a in page.all("a")} <= ids


BAD = "x:</script><img src=x onerror=alert(1)>\u202e\u05d0\nline\x07 " + "y" * 10_000


def test_a_hostile_name_is_short_text_everywhere(make: SimpleNamespace) -> None:
    case = make.case("soft").with_axes(layer=BAD)
    other = make.case("soft").with_axes(layer=BAD, num_experts=16)
    outcomes = [*make.full(case, 0.01, 0.011, 0.012), make.failed(other, Status.TIMEOUT, BAD)]
    text = render([make.run([case, other], outcomes, name=BAD, description=BAD, comparable={"cpu": BAD})])
    assert "<img" not in text
    assert "</script>" not in re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)
    assert not {"\u202e", "\x07"} & set(text)
    assert Page(text).open == []
    whole = "y" * 1000
    shown = [words for words in Page(text).text if whole not in words]
    assert all(len(words) < 1000 for words in shown)
    assert "x:</script><img src=x onerror=alert(1)>א line y" in seen(text), "shown as it was written, in one line"
    assert len(text) < 200_000


def test_a_run_from_a_store_of_an_older_form_is_a_report(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parents[2] / "data" / "stores" / "form-1.db", tmp_path / "old.db")
    store = open_store(str(tmp_path / "old.db"))
    found = results.load(store, store.runs()[-1])
    store.close()
    text = render([found])
    assert found.run.name in seen(text)
    assert {"summary", "figures", "environment", "reproduce"} <= set(sections(text))
    assert f"of {len(found.cases)} cases ok" in seen(text)
    assert Page(text).open == []
