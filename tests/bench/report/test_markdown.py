"""The report in Markdown: short, readable, and nothing that anybody wrote becomes markup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bench.records import Status
from bench.report import assets, markdown, render

if TYPE_CHECKING:
    from types import SimpleNamespace

    from bench.results import RunResults

HOSTILE = "x:</script><img src=x onerror=alert(1)> [l](javascript:1) @all #1 `|\n# head\n- item\u202e\x1b[31m \u05d0"


def told(*runs: RunResults) -> str:
    return markdown.render(render(runs), runs)


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ .*$", text, re.MULTILINE)


def test_it_says_what_the_page_says_first_in_order(make: SimpleNamespace) -> None:
    run = make.quick()
    text = told(run)
    lines = text.split("\n")
    assert lines[0] == "# Is Soft MoE fast here?"
    assert lines[2].startswith("quick-1 · Test CPU, 2 cores · 21 September 2026, ")
    assert lines[2].endswith(" · 10 of 10 cases ok")
    assert "### Batch size 1" in lines
    assert "- Dense FFN is the fastest of 5 designs: 1.01 ms per call, 99.0 ktoken/s." in lines
    names = [heading for heading in headings(text) if heading.startswith(("# ", "## "))]
    assert names[1:] == ["## All cases", "## Caveats", "## Environment", "## How to reproduce"]
    assert "### Read with care" in headings(text)
    assert "```\nsoftmoe-bench run --grid quick --name quick-1\n```" in text
    assert '```\n[grid]\nname = "quick"\n```' in text
    assert text.rstrip().endswith("Every section with its charts: `softmoe-bench report 0123456789ab`")
    assert "whiskers" not in text, "nothing is said of charts that are not there"


def test_every_case_has_a_row_and_tables_are_tables(make: SimpleNamespace) -> None:
    text = told(make.quick())
    assert (
        "| `Dense FFN, batch size 1` | 1.01 ms | 985 µs to 1.04 ms | 99.0 ktoken/s | 3.00 MiB | ok, 1 caveat |" in text
    )
    assert len(re.findall(r"^\| `", text, re.MULTILINE)) == 10
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.split("\n")}) == 1, block


def test_charts_are_links_where_they_are_in_files(make: SimpleNamespace) -> None:
    run = make.quick()
    page = render([run])
    text = markdown.render(page, [run], assets.pictures(page), "a b")
    image = "[![Latency, batch size 1](a%20b/summary-latency-0.png)](a%20b/summary-latency-0.svg)"
    assert image in text
    assert "- Memory: [Memory, batch size 1](a%20b/memory-0.svg) · [Memory, batch size 8](a%20b/memory-1.svg)" in text
    names = {f"{picture.name}.svg" for picture in assets.pictures(page)}
    assert set(re.findall(r"\(a%20b/([^)]*\.svg)\)", text)) == names
    assert "whiskers" in text


def test_failures_have_their_reasons(make: SimpleNamespace) -> None:
    cases = [make.case(), make.case("soft")]
    trace = "Traceback (most recent call last):\n  File x\nRuntimeError: too big"
    run = make.run(cases, [*make.timed(cases[0], 0.01, 0.01, 0.01), make.failed(cases[1], Status.ERROR, trace)])
    text = told(run)
    assert "10 of" not in text
    assert "1 of 2 cases ok, 1 failed" in text
    assert "### error 1 case\n\nRuntimeError: too big\n\n- Soft MoE · fused" in text
    assert "| `Soft MoE · fused` | – | – | – | – | error |" in text


def test_what_anybody_wrote_is_no_markup(make: SimpleNamespace) -> None:
    bad, other = make.case("soft").with_axes(layer=HOSTILE), make.case()
    run = make.run(
        [bad, other],
        [*make.full(bad, 0.01, 0.011, 0.012), make.failed(other, Status.ERROR, f"Trace\n{HOSTILE}")],
        name=HOSTILE,
        description=HOSTILE,
        command=f"run\n```\n{HOSTILE}",
        grid=f"````\n{HOSTILE}",
        comparable={"cpu": HOSTILE},
    )
    text = told(run)
    fenced = re.sub(r"^(`{3,})\n.*?\n\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    plain = re.sub(r"(`+).*?\1", "", fenced)
    for markup in ("<", ">", "](", "@all", "`"):
        assert markup not in plain, markup
    assert not {"\u202e", "\x1b"} & set(text)
    assert "head" not in "".join(headings(fenced)[1:])
    assert "\u05d0" in text, "letters of any script are letters"
    assert text.startswith("# x&#58;&#60;/script&#62;")
    for block in plain.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.split("\n")}) == 1, block


def test_a_line_that_would_begin_a_list_or_a_heading_does_not(make: SimpleNamespace) -> None:
    for reason in ("# no", "- no", "1. no", "+ no", "---", "> no", "=== no"):
        case = make.case()
        text = told(make.run([case], [make.failed(case, Status.ERROR, reason)]))
        said = text[text.index("### error 1 case") :].split("\n\n")[1]
        assert said.startswith("&#"), said


def test_a_run_without_cases_says_so(make: SimpleNamespace) -> None:
    text = told(make.run([], []))
    assert text.count("The run has no case.") == 2
    assert "## How to reproduce" in text
