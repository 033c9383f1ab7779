import pytest
from compared import HOSTILE, case, compared, grown, mixed, ratio

from bench.formats import Context, words
from bench.formats.context import silent
from bench.stats import Interval
from bench.verdicts import Change, Comparison, Comparisons, Verdict

SAME = case("fine", Verdict.SAME, 1.0)
UNCLEAR = case("foggy", Verdict.UNCLEAR, 1.02)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "No case was compared"),
        ([case("a", Verdict.NEW)], "No baseline yet: the case is new"),
        ([case("a", Verdict.NEW), case("b", Verdict.NEW)], "No baseline yet: all 2 cases are new"),
        ([case("a", Verdict.NOT_COMPARABLE), case("b", Verdict.NEW)], "No case could be compared"),
        ([SAME], "Nothing changed: 1 of 1 case is the same"),
        ([SAME, UNCLEAR], "1 of 2 cases is unclear, none slower for sure"),
        (
            [SAME, case("quick", Verdict.FASTER, 0.8), UNCLEAR],
            "1 of 3 cases is faster, none slower, 1 unclear, best 0.80x (0.75 to 0.85): quick",
        ),
        (
            [SAME, case("slow", Verdict.SLOWER, 1.2), case("slower", Verdict.SLOWER, 1.5)],
            "2 of 3 cases are slower, worst 1.50x (1.45 to 1.55): slower",
        ),
        ([SAME, case("gone", Verdict.MISSING)], "1 of 2 cases is missing"),
        ([SAME, case("bad", Verdict.FAILED), case("gone", Verdict.MISSING)], "1 of 3 cases fails, 1 is missing"),
        ([case("big", Verdict.SAME, 1.0, changes=(grown(),)), SAME], "1 of 2 cases has more memory"),
        ([case("odd", Verdict.SAME, 1.0, changes=(grown("error", "abs"),))], "1 of 1 case has something else worse"),
        (
            [case("less", Verdict.SAME, 1.0, changes=(grown(by=0.5, worse=False),))],
            "No case is slower: 1 of 1 case is the same in time",
        ),
    ],
)
def test_the_verdict_on_the_whole_comes_first(rows: list[Comparison], expected: str) -> None:
    assert "".join(words.headline(compared(rows))) == expected


def test_how_many_cases_were_compared_and_what_became_of_the_others() -> None:
    assert words.compared(mixed()) == "10 of 14 cases compared; 1 failed, 1 missing, 1 not comparable, 1 new"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1.21, "+21"),
        (1.032, "+3.2"),
        (0.968, "-3.2"),
        (1.0994, "+9.9"),
        (1.0996, "+10"),
        (1.0, "0.0"),
        (0.99999, "0.0"),
        (25.0, "+2,400"),
    ],
)
def test_a_ratio_as_a_change(number: float, expected: str) -> None:
    assert words.percent(number) == expected


def test_an_interval_that_is_not_known_is_left_out() -> None:
    assert words.change(ratio(1.21)) == "+21 % (+16 to +26)"
    assert words.change(Interval(1.21, None, None, 1)) == "+21 %"
    assert words.times(Interval(1.21, None, None, 1)) == "1.21x"


def test_exact_figures_that_look_alike_show_all_their_digits() -> None:
    assert words.exact(grown()) == "peak memory 2.00 MiB -> 3.00 MiB (+50 %)"
    assert words.exact(Change("flops", "FLOP", 1e9, 1e9 + 2, worse=True)) == (
        "FLOPs 1,000,000,000 FLOP -> 1,000,000,002 FLOP (0.0 %)"
    )
    assert words.exact(Change("parameters", "count", 0.0, 3.0, worse=True)) == "parameters 0 -> 3"


def test_unclear_says_how_much_longer_to_measure() -> None:
    row = case("foggy", Verdict.UNCLEAR, 1.02, needed=15, seconds=80.0)
    assert words.why(row, compared([row])) == "about 15 pairs would settle it (5 so far, 1 min 20 s each)"
    process = compared([row], replicate="process")
    assert words.why(row, process) == "about 15 processes a side would settle it (5 so far, 1 min 20 s each)"
    seen = case("foggy", Verdict.UNCLEAR, 1.02, detectable=0.08)
    assert words.why(seen, compared([seen])) == "a change below 8.0 % cannot be seen"


def test_a_slower_case_that_does_not_fail_the_gate_says_so() -> None:
    row = case("slow", Verdict.SLOWER, 1.2)
    assert words.why(row, compared([row], gate=())) == "not beyond doubt over all cases"
    assert words.why(row, compared([row])) == ""


def test_one_line_holds_only_printable_characters() -> None:
    line = words.one_line(HOSTILE)
    assert line.isprintable()
    assert line.startswith("x:`|<b>@all</b>`` | a | b | ::error::x[31m[l]")
    assert words.one_line("a" * 500, 80) == "a" * 52 + "…" + "a" * 27


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (compared([SAME, SAME]), True),
        (compared([SAME, UNCLEAR]), True),
        (compared([SAME, case("old", Verdict.NOT_COMPARABLE)]), True),
        (compared([UNCLEAR, UNCLEAR]), False),
        (compared([SAME, case("quick", Verdict.FASTER, 0.8)]), False),
        (compared([SAME, case("fresh", Verdict.NEW)]), False),
        (compared([case("less", Verdict.SAME, 1.0, changes=(grown(by=0.5, worse=False),))]), False),
        (compared([]), False),
        (mixed(), False),
    ],
)
def test_silence_only_where_nothing_changed(found: Comparisons, expected: bool) -> None:
    assert silent(found, Context(quiet=True)) is expected
    assert not silent(found, Context())


def test_what_fails_is_never_passed_over_in_silence() -> None:
    found = compared([SAME, UNCLEAR])
    assert not silent(found, Context(quiet=True, fail_on=frozenset({"unclear"})))
