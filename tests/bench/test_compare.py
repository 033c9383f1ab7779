import math
from dataclasses import replace

import pytest
from recorded import dense, failed, measured, results, run, soft

from bench import gates
from bench.compare import compare
from bench.errors import Exit, InputError, NotComparableError
from bench.judging import verdict
from bench.pairing import Pair, parse_pair
from bench.records import Flag, Outcome, Status
from bench.resampling import Estimate
from bench.verdicts import Verdict

STEADY = [1.00, 1.01, 0.99, 1.00, 1.01]


def scaled(factor: float) -> list[float]:
    return [factor * value for value in STEADY]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.06, 1.20, Verdict.SLOWER),
        (1.04, 1.20, Verdict.UNCLEAR),
        (0.80, 0.94, Verdict.FASTER),
        (0.80, 0.96, Verdict.UNCLEAR),
        (0.97, 1.04, Verdict.SAME),
        (0.50, 2.00, Verdict.UNCLEAR),
        (None, None, Verdict.UNCLEAR),
    ],
)
def test_a_verdict_is_a_claim_about_the_whole_interval(
    low: float | None, high: float | None, expected: Verdict
) -> None:
    bounds = [None if bound is None else math.log(bound) for bound in (low, high)]
    assert verdict(Estimate(0.0, 5, *bounds), math.log1p(0.05)) is expected


def test_slower_faster_and_same() -> None:
    case = soft()
    base = results(measured(case, STEADY), [case])
    for factor, expected in ((1.5, Verdict.SLOWER), (0.5, Verdict.FASTER), (1.0, Verdict.SAME)):
        other = results(measured(case, scaled(factor)), [case], of=run("quick-2", id="ffffffffffff"))
        found = compare(base, other)
        assert [row.verdict for row in found.rows] == [expected]
        assert found.rows[0].ratio is not None
        assert found.rows[0].ratio.estimate == pytest.approx(factor)
        assert gates.exit_code(found, gates.DEFAULT) is (Exit.WORSE if factor > 1 else Exit.OK)


def test_a_slow_machine_is_not_a_slow_layer() -> None:
    """Everything takes twice as long in the second run, the reference kernel too."""
    case = soft()
    base = results(measured(case, STEADY, references=scaled(1e-3)), [case])
    other = results(measured(case, scaled(2.0), references=scaled(2e-3)), [case], of=run("quick-2", id="ffffffffffff"))
    row = compare(base, other).rows[0]
    assert row.verdict is Verdict.SAME
    assert row.raw is not None
    assert row.raw.estimate == pytest.approx(2.0)


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_a_reference_kernel_that_moved_alone_proves_nothing(factor: float) -> None:
    case = soft()
    base = results(measured(case, STEADY, references=scaled(1e-3)), [case])
    moved = measured(case, STEADY, references=scaled(factor * 1e-3))
    row = compare(base, results(moved, [case], of=run("b", id="ffffffffffff"))).rows[0]
    assert row.verdict is Verdict.UNCLEAR
    assert row.reason == "the time itself says otherwise: the reference kernel moved"


def test_noise_is_unclear_and_one_process_is_unclear() -> None:
    case = soft()
    base = results(measured(case, [1.0, 1.5, 0.7, 1.2]), [case])
    other = results(measured(case, [1.3, 1.6, 0.8, 1.1]), [case], of=run("b", id="ffffffffffff"))
    assert compare(base, other).rows[0].verdict is Verdict.UNCLEAR
    alone = results(measured(case, [9.0]), [case], of=run("c", id="eeeeeeeeeeee"))
    assert compare(base, alone).rows[0].verdict is Verdict.UNCLEAR


def test_missing_new_and_failed_cases_are_named() -> None:
    cases = [soft(), dense(), soft(num_experts=16)]
    base = results(measured(cases[0], STEADY) + measured(cases[1], STEADY), cases[:2])
    outcomes = [failed(cases[1], Status.CRASHED, "signal 11\nlog"), *measured(cases[2], STEADY)]
    other = results(outcomes, cases[1:], of=run("b", id="ffffffffffff"))
    found = compare(base, other)
    assert [(row.case_id, row.verdict) for row in found.rows] == [
        (cases[1].id, Verdict.FAILED),
        (cases[0].id, Verdict.MISSING),
        (cases[2].id, Verdict.NEW),
    ]
    assert found.rows[0].reason == "crashed: signal 11"
    assert gates.exit_code(found, gates.DEFAULT) is Exit.INCOMPLETE


def test_a_case_that_never_worked_is_no_regression() -> None:
    case = soft()
    base = results([failed(case)], [case])
    other = results([failed(case)], [case], of=run("b", id="ffffffffffff"))
    found = compare(base, other)
    assert found.rows[0].verdict is Verdict.NOT_COMPARABLE
    assert gates.exit_code(found, frozenset({"slower", "missing", "failed", "new"})) is Exit.OK


def test_worst_first() -> None:
    cases = [soft(num_experts=n) for n in (2, 4, 8, 16)]
    factors = (1.0, 1.2, 0.5, 1.9)
    base = results([o for c in cases for o in measured(c, STEADY)], cases)
    slow = [o for c, f in zip(cases, factors, strict=True) for o in measured(c, scaled(f))]
    found = compare(base, results(slow, cases, of=run("b", id="ffffffffffff")))
    assert [row.name for row in found.rows] == [f"soft/fused experts={n}" for n in (16, 4, 8, 2)]


def busy(outcomes: list[Outcome], repeats: set[int]) -> list[Outcome]:
    flag = (Flag("loaded", "1.0 cores in use by others"),)
    return [replace(o, flags=flag) if o.repeat in repeats else o for o in outcomes]


def test_processes_on_a_busy_machine_are_left_out_while_three_others_remain() -> None:
    case = soft()
    base = results(measured(case, STEADY), [case])
    disturbed = busy(measured(case, [*STEADY[:3], 9.0, 9.0]), {4, 5})
    row = compare(base, results(disturbed, [case], of=run("b", id="ffffffffffff"))).rows[0]
    assert row.verdict is Verdict.SAME
    assert row.candidate is not None
    assert row.candidate.interval.replicates == 5


def test_a_busy_machine_proves_nothing() -> None:
    case = soft()
    base = results(measured(case, STEADY), [case])
    disturbed = busy(measured(case, scaled(3.0)), {1, 2, 3})
    row = compare(base, results(disturbed, [case], of=run("b", id="ffffffffffff"))).rows[0]
    assert row.verdict is Verdict.UNCLEAR
    assert row.reason == "machine was busy in 0 and 3 processes"
    assert row.ratio is not None
    assert row.ratio.estimate == pytest.approx(3.0)


def test_the_reason_of_an_error_is_the_last_line_of_its_traceback() -> None:
    case = soft()
    base = results(measured(case, STEADY), [case])
    broken = failed(case, Status.ERROR, "Traceback (most recent call last):\n  ...\nValueError: no tokens")
    row = compare(base, results([broken], [case], of=run("b", id="ffffffffffff"))).rows[0]
    assert row.reason == "error: ValueError: no tokens"


def test_other_machines_are_refused_with_the_facts_that_differ() -> None:
    case = soft()
    base = results(measured(case, STEADY), [case])
    other = results(measured(case, STEADY), [case], of=run("b", id="ffffffffffff", cpu="Other CPU"))
    with pytest.raises(
        NotComparableError, match="cannot be compared: cpu is Test CPU against Other CPU; measure both on"
    ):
        compare(base, other)


def test_a_pair_within_one_run_is_compared_round_by_round() -> None:
    """The machine doubles its time from round to round; the ratio of each round is still 1.3."""
    drift = [1.0, 2.0, 4.0, 8.0]
    cases = [soft(backend="einsum"), soft(backend="fused")]
    outcomes = measured(cases[0], drift) + measured(cases[1], [1.3 * value for value in drift])
    found = results(outcomes, cases)
    (row,) = compare(found, found, pair=parse_pair("backend=einsum,fused")).rows
    assert row.verdict is Verdict.SLOWER
    assert row.ratio is not None
    assert row.ratio.low == pytest.approx(1.3)
    assert row.ratio.high == pytest.approx(1.3)


def test_a_layer_from_outside_is_paired_with_ours_in_spite_of_its_missing_backend() -> None:
    ours = soft()
    axes = {name: value for name, value in ours.items() if name != "backend"} | {"layer": "mine:Layer"}
    theirs = type(ours)(axes)
    found = results(measured(ours, STEADY) + measured(theirs, scaled(2.0)), [ours, theirs])
    (row,) = compare(found, found, pair=parse_pair("layer=soft,mine:Layer")).rows
    assert row.verdict is Verdict.SLOWER


def test_a_pair_with_two_partners_is_refused() -> None:
    cases = [soft(backend="einsum"), soft(backend="fused"), dense()]
    found = results([], cases)
    with pytest.raises(InputError, match="has 2 partners; narrow the runs down with --set"):
        compare(found, found, pair=Pair("layer", "dense", "soft"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("backend", "--pair backend: write axis=base,candidate as in backend=einsum,fused"),
        ("backend=einsum", "--pair backend=einsum: write axis=base,candidate"),
        ("bakend=a,b", "unknown axis 'bakend'; did you mean backend?"),
        ("batch_size=1,x", "batch_size = 'x': takes a whole number >= 1"),
        ("batch_size=2,2.0", "both sides are 2"),
    ],
)
def test_a_pair_that_makes_no_sense(words: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_pair(words)
    assert message in str(caught.value)


def test_a_pair_of_which_one_side_was_not_measured() -> None:
    found = results([], [soft()])
    with pytest.raises(InputError, match="--pair backend: no case has backend = loop"):
        compare(found, found, pair=Pair("backend", "fused", "loop"))
