"""The comment as a reader of Markdown sees it: parsed, not compared character by character."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from compared import HOSTILE, case, compared, grown, mixed
from markdown_it import MarkdownIt

from bench.formats import TABLE, Context, markdown
from bench.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

SAME = case("fine", Verdict.SAME, 1.0)


def parse(text: str) -> Sequence[Token]:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def tables(text: str) -> list[list[list[str]]]:
    """Every table as its rows of cells, each as a reader sees it."""
    found: list[list[list[str]]] = []
    inside = False
    for token in parse(text):
        inside = inside or token.type in ("th_open", "td_open")
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and inside:
            found[-1][-1].append("".join(child.content for child in token.children or ()))
            inside = False
    return found


def folded(text: str) -> tuple[str, str]:
    """What is seen at once, and what is folded away."""
    seen, fold = text.split("<details>")
    return seen, fold


def render(found: object, **asked: object) -> str:
    return TABLE["markdown"](found, Context(**asked))


def test_the_verdict_stands_in_the_first_line_a_reader_sees() -> None:
    lines = render(mixed()).splitlines()
    assert lines[0] == markdown.MARKER
    assert lines[2] == (
        "**2 of 14 cases are slower, 1 has more memory, 1 fails, 1 is missing**,"
        " worst 1.21x (1.16 to 1.26): `soft/fused experts=32`"
    )
    assert lines[4].startswith("10 of 14 cases compared; 1 failed, 1 missing, 1 not comparable, 1 new.")


def test_a_narrow_table_of_the_worst_then_all_cases_folded_away() -> None:
    text = render(mixed(), report="https://ci.example/r", command="softmoe-bench duel --grid quick")
    seen, fold = folded(text)
    (top,) = tables(seen)
    assert top[0] == ["case", "time", "verdict"]
    assert top[1] == ["soft/fused experts=32", "+21\u00a0% (+16 to +26)", "slower"]
    assert [row[2] for row in top[1:]] == [
        "slower",
        "slower",
        "more peak memory",
        "failed",
        "missing",
        "not comparable",
        "unclear",
        "faster",
    ]
    (whole,) = tables(f"<details>{fold}")
    assert len(whole) == 1 + 14
    assert "`peer/bag`: peak memory 2.00 MiB → 3.00 MiB (+50\u00a0%)" in seen
    assert "`soft`: geometric mean 1.03x over 3 cases, worst 1.21x: `soft/fused experts=32`" in seen
    assert "[Report](https://ci.example/r)" in seen
    assert "All findings lie on one side." in seen
    assert "Median of paired log ratios" in fold
    assert "Reproduce: `softmoe-bench duel --grid quick`" in fold
    assert "about 15 pairs would settle it" in fold


def test_only_what_fails_the_gate_is_bold() -> None:
    seen, _ = folded(render(mixed(), fail_on=frozenset({"memory"})))
    assert re.findall(r"\| [^|]*\*\*(.*?)\*\*", seen) == ["more peak memory"]


def test_at_most_ten_rows_and_ten_exact_changes() -> None:
    rows = [case(f"soft experts={n}", Verdict.SLOWER, 1.1 + n / 100, changes=(grown(),)) for n in range(30)]
    seen, fold = folded(render(compared(rows)))
    (top,) = tables(seen)
    assert [row[0] for row in top[1:]] == [f"soft experts={n}" for n in range(29, 19, -1)]
    assert "20 more below." in seen
    assert seen.count("peak memory 2.00 MiB") == 10
    assert len(tables(f"<details>{fold}")[0]) == 31


def test_a_comment_is_never_longer_than_a_site_takes() -> None:
    rows = [case(f"soft/fused batch={n} {'x' * 60}", Verdict.SAME, 1.0) for n in range(3000)]
    text = render(compared(rows))
    assert len(text) < 65_536
    shown = len(tables(text)[-1]) - 1
    assert 100 < shown < 3000
    assert f"{3000 - shown} more cases do not fit here" in text


def test_silence_only_if_asked() -> None:
    assert render(compared([SAME]), quiet=True) == ""
    assert "**Nothing changed: 1 of 1 case is the same**" in render(compared([SAME]))
    assert render(mixed(), quiet=True) == render(mixed())


def test_a_hostile_name_is_only_ever_text() -> None:
    row = case(HOSTILE, Verdict.SLOWER, 1.5, layer=HOSTILE, reason=HOSTILE, changes=(grown(HOSTILE),))
    other = case(f"b{HOSTILE}", Verdict.UNCLEAR, 1.0, layer=HOSTILE, needed=3)
    facts = {"base": HOSTILE, "candidate": HOSTILE, "remarks": (HOSTILE,), "method": HOSTILE}
    text = render(compared([row, other], **facts, replicate=HOSTILE), report=HOSTILE, command=HOSTILE)
    own = {markdown.MARKER, "<details><summary>2 cases: figures, reasons, method</summary>", "</details>"}
    kinds = set()
    for token in parse(text):
        if token.type == "html_block":
            assert token.content.strip() in own
        for child in token.children or ():
            kinds.add(child.type)
            assert child.type != "text" or "@all" not in child.content
    assert kinds <= {"text", "strong_open", "strong_close", "code_inline", "softbreak"}
    assert [len(row) for table in tables(text) for row in table] == [3, 3, 3, 7, 7, 7]
    assert "\u202e" not in text
    text.encode("utf-8")


@pytest.mark.parametrize("name", ["a`b", "`", "``a", "a\\", "a|b", "a\\|b", "", " ", "```\n# x"])
def test_a_name_with_backticks_stays_one_code_span(name: str) -> None:
    (top, _) = tables(render(compared([case(name, Verdict.SLOWER, 1.5), SAME])))
    seen = " ".join(name.split()).replace("|", "¦")
    assert [row[0].strip() for row in top[1:]] == [seen]


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("https://x.example/a b)c<d>", "[Report](https://x.example/a%20b%29c%3Cd%3E)"),
        ("javascript:alert(1)", "Report: `javascript:alert(1)`"),
        ("out/report.html", "Report: `out/report.html`"),
    ],
)
def test_a_link_leads_nowhere_else(report: str, expected: str) -> None:
    assert expected in render(mixed(), report=report)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("failed: ValueError: flops_per_s is 3 %", "failed: ValueError: flops_per_s is 3\u00a0%"),
        ("see http://x.y and www.z.q", "see http&#58;//x.y and www&#46;z.q"),
        ("@team a@b.c #12 !3", "&#64;\u2060team a&#64;\u2060b.c &#35;12 &#33;3"),
        ("_a_ *b* ~c~ $d$ <e> &f", "&#95;a&#95; &#42;b&#42; &#126;c&#126; &#36;d&#36; &#60;e&#62; &#38;f"),
    ],
)
def test_words_hold_no_markup(text: str, expected: str) -> None:
    assert markdown.prose(text) == expected
