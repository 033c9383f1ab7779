import pytest
from compared import case, compared, grown, mixed

from bench import gates
from bench.errors import Exit, InputError
from bench.verdicts import Change, Verdict

SLOWER = case("slow", Verdict.SLOWER, 1.3)
SAME = case("fine", Verdict.SAME, 1.0)
FAILED = case("broken", Verdict.FAILED)
UNCLEAR = case("foggy", Verdict.UNCLEAR, 1.02)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("slower", {"slower"}),
        (" Slower, memory ,missing,slower", {"slower", "memory", "missing"}),
        ("none", set()),
        (",".join(gates.FAIL_ON), set(gates.FAIL_ON)),
    ],
)
def test_words_are_a_list_with_commas(words: str, expected: set[str]) -> None:
    assert gates.parse_fail_on(words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("slwer", "--fail-on: unknown word 'slwer'; did you mean slower? (allowed: slower, memory, "),
        ("slower,mising", "did you mean missing?"),
        ("", "--fail-on '': name one or more of slower, memory, flops, "),
        (",,", "name one or more of"),
        ("none,slower", "or only none"),
    ],
)
def test_a_word_that_is_none(words: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        gates.parse_fail_on(words)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "words", "expected"),
    [
        ([SAME], "slower,unclear,failed", Exit.OK),
        ([SLOWER, SAME], "slower", Exit.WORSE),
        ([SLOWER, SAME], "none", Exit.OK),
        ([SLOWER, SAME], "memory,missing", Exit.OK),
        ([FAILED, SAME], "slower,failed", Exit.INCOMPLETE),
        ([case("gone", Verdict.MISSING), SAME], "missing", Exit.INCOMPLETE),
        ([UNCLEAR], "slower", Exit.OK),
        ([UNCLEAR], "unclear", Exit.UNDECIDED),
        ([case("fresh", Verdict.NEW), SAME], "new", Exit.INCOMPLETE),
        ([case("fresh", Verdict.NEW), SAME], "no-baseline", Exit.OK),
        ([case("fresh", Verdict.NEW)], "no-baseline", Exit.INCOMPLETE),
        ([case("other", Verdict.NOT_COMPARABLE), SAME], "nothing-compared", Exit.OK),
        ([case("other", Verdict.NOT_COMPARABLE), SAME], "not-comparable", Exit.INCOMPLETE),
        ([SLOWER, FAILED, UNCLEAR], ",".join(gates.FAIL_ON), Exit.WORSE),
        ([SAME, FAILED, UNCLEAR], ",".join(gates.FAIL_ON), Exit.INCOMPLETE),
    ],
)
def test_worse_before_incomplete_before_undecided(rows: list, words: str, expected: Exit) -> None:
    assert gates.exit_code(compared(rows), gates.parse_fail_on(words)) is expected


def test_slower_counts_only_beyond_doubt_over_the_family() -> None:
    found = compared([SLOWER, SAME], gate=())
    assert found.count(Verdict.SLOWER) == 1
    assert gates.exit_code(found) is Exit.OK
    assert gates.exit_code(compared([SLOWER, SAME], gate=(SLOWER.case_id,))) is Exit.WORSE


@pytest.mark.parametrize(
    ("metric", "word"),
    [
        ("peak_memory", "memory"),
        ("parameter_memory", "memory"),
        ("optimizer_memory", "memory"),
        ("flops", "flops"),
        ("flops_executed", "flops"),
        ("flops_torch", "flops"),
        ("parameters", "parameters"),
        ("parameter_count", "parameters"),
        ("max_abs_error", None),
    ],
)
def test_what_an_exact_figure_counts_under(metric: str, word: str | None) -> None:
    row = case("grew", Verdict.SAME, 1.0, changes=(grown(metric),))
    exact = {"memory", "flops", "parameters"}
    assert set(gates.fired(compared([row]), frozenset(exact))) == ({word} if word else set())


def test_what_grew_within_what_is_allowed_fails_nothing() -> None:
    row = case("grew", Verdict.SAME, 1.0, changes=(Change("peak_memory", "B", 100.0, 101.0, worse=False),))
    assert gates.exit_code(compared([row])) is Exit.OK


def test_a_case_that_is_unclear_in_time_still_fails_by_its_memory() -> None:
    row = case("foggy", Verdict.UNCLEAR, 1.02, changes=(grown(),))
    assert gates.exit_code(compared([row])) is Exit.WORSE


def test_a_comparison_that_compares_nothing_does_not_pass() -> None:
    assert gates.exit_code(compared([case("other", Verdict.NOT_COMPARABLE)])) is Exit.INCOMPLETE
    assert gates.exit_code(compared([])) is Exit.INCOMPLETE
    assert gates.say(compared([])) == "there is no case"
    assert gates.exit_code(compared([]), frozenset()) is Exit.OK


def test_a_first_run_without_a_baseline_is_no_error() -> None:
    assert gates.exit_code(compared([case("a", Verdict.NEW), case("b", Verdict.NEW)])) is Exit.OK


def test_which_cases_fired_is_said_per_word_and_per_case() -> None:
    found = mixed()
    names = {word: [row.name for row in rows] for word, rows in gates.fired(found, gates.DEFAULT).items()}
    assert names == {
        "slower": ["soft/fused experts=32", "soft/fused experts=8"],
        "memory": ["peer/bag"],
        "missing": ["token_choice/grouped experts=32"],
        "failed": ["token_choice/grouped experts=8"],
    }
    assert gates.say(found) == "slower (2 cases), memory (1 case), missing (1 case), failed (1 case)"
    slow = case("slow", Verdict.SLOWER, 1.3, changes=(grown(), grown("flops", "FLOP")))
    assert gates.reasons(compared([slow, SAME])) == {slow.case_id: ("slower", "memory", "flops")}
