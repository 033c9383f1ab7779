"""The table of a comparison: 100 columns, spent on what tells cases apart."""

import pytest
from compared import case, compared, mixed

from bench.cli import terminal
from bench.formats import Context
from bench.verdicts import Verdict


def table(text: str) -> list[str]:
    """The lines of the first table."""
    lines = [line.strip() for line in text.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("case "))
    return lines[start : lines.index("", start)]


def test_a_comparison_fits_a_hundred_columns_and_cuts_nothing_off() -> None:
    text = terminal.comparison(mixed(), Context())
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    lines = table(text)
    titles = ["case", "base", "candidate", "ratio", "95", "%", "interval", "sees", "exact", "verdict"]
    assert lines[0].split() == titles
    assert [line.split()[-1] for line in lines[2:] if "1.2" in line] == ["slower"]
    assert "soft/fused experts=32      1.00 ms   1.21 ms  1.21  1.16 to 1.26 6.0 %" in text
    assert "peak memory" in "".join(lines)


def test_a_comparison_ends_with_what_it_comes_to() -> None:
    text = " ".join(terminal.comparison(mixed(), Context()).split())
    assert "expert_choice 4 1.00 1.01 expert_choice/indexed batch=8" in text
    assert "failed: token_choice/grouped experts=8: crashed: signal 11" in text
    assert "unclear: dense: about 15 pairs would settle it (5 so far, 12 s each)" in text
    assert "note: All findings lie on one side." in text
    assert "pr-17 against main: Median of paired log ratios over fresh pairs" in text
    assert "10 of 14 cases compared: 2 slower, 1 failed, 1 missing, 1 not comparable, 1 unclear, 1 faster" in text
    assert text.endswith("Fails: slower (2 cases), memory (1 case), missing (1 case), failed (1 case).")


def test_columns_that_no_case_fills_are_left_out() -> None:
    rows = [case("soft", Verdict.SAME, 1.0), case("dense", Verdict.NEW)]
    text = terminal.comparison(compared(rows), Context())
    assert table(text)[0].split() == ["case", "base", "candidate", "ratio", "95", "%", "interval", "verdict"]
    assert "geometric mean" not in text


def test_a_name_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_comparison(compared([case("x[red]y[/red]\x1b[2J", Verdict.SAME, 1.0)]), Context())
    assert "x[red]y[/red][2J" in capsys.readouterr().out


def test_a_comparison_of_nothing() -> None:
    assert "No case was compared." in terminal.comparison(compared([]), Context())


def test_of_thousands_the_worst_are_shown_and_all_are_counted() -> None:
    rows = [case(f"soft batch={n}", Verdict.SAME, 1.0) for n in range(300)] + [case("slow", Verdict.SLOWER, 1.5)]
    text = terminal.comparison(compared(rows), Context())
    assert len(table(text)) == 2 + 200
    assert table(text)[2].startswith("slow ")
    assert "101 cases more, none worse than these: see --format json." in text
    assert "301 of 301 cases compared: 1 slower, 300 same." in text
