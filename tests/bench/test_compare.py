from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import CEILINGS, dense, failed, measured, results, run, soft

from bench import sides
from bench.compare import ONE_SIDED, compare, first, one_sided
from bench.errors import Exit, NotComparableError
from bench.gates import exit_code, fired
from bench.pairing import parse_pair
from bench.records import Case, Ceiling, Flag, Observation, Outcome, Status
from bench.results import RunResults
from bench.verdicts import Comparisons, Verdict

STEADY = [1.00, 1.01, 0.99, 1.00, 1.01]
SCORES = np.array([-1.16, -0.5, 0.0, 0.5, 1.16])
"""Five values that lie as normal ones should."""

MIRROR = {
    Verdict.SLOWER: Verdict.FASTER,
    Verdict.FASTER: Verdict.SLOWER,
    Verdict.MISSING: Verdict.NEW,
    Verdict.NEW: Verdict.MISSING,
}


def scaled(factor: float) -> list[float]:
    return [factor * value for value in STEADY]


def base_of(outcomes: list[Outcome], cases: list[Case]) -> RunResults:
    return results(outcomes, cases, of=run("base", id="eeeeeeeeeeee"))


def noisy(factor: float, spread: float) -> list[float]:
    """Five processes that lie apart by so much about a level."""
    return (factor * np.exp(spread * SCORES)).tolist()


def many(factors: list[float], spread: float = 0.02, **more: object) -> Comparisons:
    """As many cases as factors, each with five processes a side."""
    cases = [soft(seed=seed) for seed in range(len(factors))]
    base = base_of([o for case in cases for o in measured(case, noisy(1.0, spread))], cases)
    other = [o for case, f in zip(cases, factors, strict=True) for o in measured(case, noisy(f, spread))]
    return compare(base, results(other, cases), **more)


def test_slower_faster_and_same() -> None:
    case = soft()
    base = results(measured(case, STEADY), [case])
    for factor, expected in ((1.5, Verdict.SLOWER), (0.5, Verdict.FASTER), (1.0, Verdict.SAME)):
        other = results(measured(case, scaled(factor)), [case], of=run("quick-2", id="ffffffffffff"))
        found = compare(base, other)
        assert [row.verdict for row in found.rows] == [expected]
        assert found.rows[0].ratio is not None
        assert found.rows[0].ratio.estimate == pytest.approx(factor)
        assert exit_code(found) == (Exit.WORSE if factor > 1 else Exit.OK)
        assert found.gate == ({case.id} if factor > 1 else set())


def test_a_slow_machine_is_not_a_slow_layer() -> None:
    """Everything takes twice as long in the second run, the reference kernel too."""
    case = soft()
    base = results(measured(case, STEADY, references=scaled(1e-3)), [case])
    other = results(measured(case, scaled(2.0), references=scaled(2e-3)), [case], of=run("quick-2", id="ffffffffffff"))
    row = compare(base, other).rows[0]
    assert row.verdict is Verdict.SAME
    assert row.raw is not None
    assert row.raw.estimate == pytest.approx(2.0)


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
    assert [row.reason for row in found.rows[1:]] == ["candidate: no result", ""]
    assert set(fired(found)) == {"failed", "missing", "new", "nothing-compared"}
    assert exit_code(found) == Exit.INCOMPLETE


def test_a_case_that_never_worked_is_no_regression() -> None:
    case = soft()
    base = results([failed(case)], [case])
    other = results([failed(case)], [case], of=run("b", id="ffffffffffff"))
    found = compare(base, other)
    assert found.rows[0].verdict is Verdict.NOT_COMPARABLE
    assert exit_code(found, frozenset({"slower", "failed", "missing", "new"})) == Exit.OK


def test_a_case_that_works_now_is_new() -> None:
    case = soft()
    base = results([failed(case)], [case])
    (row,) = compare(base, results(measured(case, STEADY), [case], of=run("b", id="ffffffffffff"))).rows
    assert (row.verdict, row.reason) == (Verdict.NEW, "base: error: ValueError: it broke")
    assert row.candidate is not None


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


def test_cases_of_a_pair_without_a_partner_are_missing_or_new() -> None:
    cases = [soft(backend="einsum"), soft(backend="fused", num_experts=16)]
    found = results([o for case in cases for o in measured(case, STEADY)], cases)
    rows = compare(found, found, pair=parse_pair("backend=einsum,fused")).rows
    assert [(row.case_id, row.verdict) for row in rows] == [
        (cases[0].id, Verdict.MISSING),
        (cases[1].id, Verdict.NEW),
    ]


# families


def test_one_of_many_may_be_by_chance() -> None:
    """What is slower by itself is taken back where it is the best of two hundred, and closes no gate."""
    alone = many([1.10])
    assert [row.verdict for row in alone.rows] == [Verdict.SLOWER]
    assert len(alone.gate) == 1
    found = many([1.10, *[1.0] * 199])
    assert found.counts == {Verdict.SAME: 199, Verdict.UNCLEAR: 1}
    (row,) = [row for row in found.rows if row.verdict is Verdict.UNCLEAR]
    assert row.reason == "slower by itself, but one of 200 may be by chance"
    assert exit_code(found) == Exit.OK


def test_many_findings_support_each_other_in_the_table_and_not_at_the_gate() -> None:
    found = many([*[1.10] * 40, *[1.0] * 40])
    assert found.count(Verdict.SLOWER) == 40
    assert found.gate == set()
    assert exit_code(found) == Exit.OK
    large = many([1.5, *[1.10] * 40, *[1.0] * 40])
    assert large.gate == {large.rows[0].case_id}
    assert exit_code(large) == Exit.WORSE


def test_a_faster_case_closes_no_gate() -> None:
    found = many([0.5])
    assert (found.rows[0].verdict, found.gate) == (Verdict.FASTER, frozenset())


def test_findings_on_one_side_alone_are_remarked() -> None:
    assert many([1.5] * ONE_SIDED).remarks == (
        "All 5 findings are slower: where the change cannot touch them all, suspect the machine, or use `duel`.",
    )
    assert "All 5 findings are faster" in many([0.5] * ONE_SIDED).remarks[0]
    for factors in ([1.5] * (ONE_SIDED - 1), [*[1.5] * ONE_SIDED, 0.5], [1.0] * 10):
        assert one_sided(many(factors).rows) == []


# thresholds


def test_thresholds_come_from_the_candidates_grid_unless_they_are_given() -> None:
    case = soft()
    base = base_of(measured(case, STEADY), [case])
    grown = [
        replace(o, observations=(*o.observations, Observation("saved_memory", "B", (1000.0 + 40 * i,))))
        for i, o in enumerate((measured(case, STEADY)[0], measured(case, scaled(1.15))[0]))
    ]
    base = base_of([grown[0], *measured(case, STEADY)[1:]], [case])
    asked = run("b", id="ffffffffffff")
    asked = replace(asked, settings={**asked.settings, "thresholds": {"latency": 0.3, "memory": 0.05}})
    other = results([grown[1], *measured(case, scaled(1.15))[1:]], [case], of=asked)
    found = compare(base, other)
    assert (found.threshold, found.rows[0].verdict, found.rows[0].worse_in) == (0.3, Verdict.SAME, ())
    assert found.rows[0].changes[0].candidate == 1040.0
    found = compare(base, other, thresholds={"memory": 0.01})
    assert (found.threshold, found.rows[0].worse_in) == (0.3, ("saved_memory",))
    assert fired(found).keys() == {"memory"}
    for given_ in ({"thresholds": {"latency": 0.05}}, {"threshold": 0.05}):
        found = compare(base, other, **given_)
        assert (found.threshold, found.rows[0].verdict, found.rows[0].threshold) == (0.05, Verdict.SLOWER, 0.05)


@pytest.mark.parametrize("told", [None, [0.1], {"latency": "wide", "speed": 0.1, "memory": -1.0}, {"latency": 1e9}])
def test_an_imported_run_may_say_anything_of_its_thresholds(told: object) -> None:
    case = soft()
    odd = replace(run("b", id="ffffffffffff"), settings={"thresholds": told})
    found = compare(base_of(measured(case, STEADY), [case]), results(measured(case, STEADY), [case], of=odd))
    assert found.threshold == 0.05


def test_what_grew_counts_beside_a_time_that_is_the_same() -> None:
    case = soft()
    base = base_of(measured(case, STEADY), [case])
    inspected, *timed = measured(case, STEADY)
    more = replace(inspected, observations=(Observation("parameters", "count", (1001.0,)),))
    found = compare(base, results([more, *timed], [case]))
    assert (found.rows[0].verdict, found.rows[0].worse_in) == (Verdict.SAME, ("parameters",))
    assert exit_code(found) == Exit.WORSE


def test_exact_figures_are_compared_where_nothing_was_timed() -> None:
    case = soft()
    (inspected,) = measured(case, [])
    more = replace(inspected, observations=(Observation("parameters", "count", (1001.0,)),))
    found = compare(base_of([inspected], [case]), results([more], [case]))
    assert (found.rows[0].verdict, found.rows[0].worse_in) == (Verdict.NOT_COMPARABLE, ("parameters",))
    assert exit_code(found) == Exit.WORSE


# what the figures are


def test_without_a_reference_kernel_it_is_said() -> None:
    case, other = soft(), dense()
    plain = [replace(o, observations=o.observations[:1]) if o.repeat else o for o in measured(case, STEADY)]
    both = [case, other]
    base = base_of([*measured(case, STEADY), *measured(other, STEADY)], both)
    found = compare(base, results([*plain, *measured(other, STEADY)], both))
    assert found.compared == 2
    (remark,) = found.remarks
    assert remark.startswith("1 of 2 cases have no reference kernel beside them in both runs: their times are compared")


def test_a_first_run_is_all_new() -> None:
    cases = [soft(), dense(), soft(num_experts=16)]
    outcomes = [*measured(cases[0], STEADY), failed(cases[1]), failed(cases[2], Status.SKIPPED, "no device cuda")]
    found = first(sides.of(results(outcomes, cases)), "baseline:main")
    assert [row.verdict for row in found.rows] == [Verdict.NEW] * 3
    assert (found.base, found.candidate, found.compared) == ("baseline:main", "quick-1", 0)
    assert exit_code(found) == Exit.OK
    assert exit_code(found, frozenset({"no-baseline"})) == Exit.INCOMPLETE


# other machines

FASTER_MACHINE = tuple(
    Ceiling(c.device, c.what, c.unit, tuple((1.0 if c.unit == "B" else 2.0) * s for s in c.samples)) for c in CEILINGS
)


def of_machines(factor: float, *ceilings: tuple[Ceiling, ...]) -> tuple[sides.RunSide, sides.RunSide]:
    """A case on a machine, and on another one of which everything takes half the time, by a factor."""
    case, unlike = soft(), soft(threads=7)
    here = [*measured(case, STEADY), *measured(unlike, STEADY)]
    there = [*measured(case, scaled(0.5 * factor)), *measured(unlike, scaled(0.5 * factor))]
    threads = {"torch_threads": 2}
    return (
        sides.of(results(here, [case, unlike], of=run("a", **threads)), ceilings[0]),
        sides.of(results(there, [case, unlike], of=run("b", id="f" * 12, cpu="Fast CPU", **threads)), ceilings[1]),
    )


@pytest.mark.parametrize(("factor", "expected"), [(1.0, Verdict.SAME), (1.4, Verdict.SLOWER), (0.7, Verdict.FASTER)])
def test_shares_of_ceilings_are_compared_across_machines(factor: float, expected: Verdict) -> None:
    both = of_machines(factor, CEILINGS, FASTER_MACHINE)
    with pytest.raises(NotComparableError, match=r"cpu is Test CPU against Fast CPU.*--normalise"):
        compare(*both)
    found = compare(*both, normalise=True)
    by_case = {row.case_id: row for row in found.rows}
    row = by_case[soft().id]
    assert row.verdict is expected
    assert row.ratio.estimate == pytest.approx(factor)
    assert found.method.startswith("ratio of latencies over the least time that each machine could take")
    assert found.remarks[0].startswith("Each side is held against the ceilings measured on its own machine: weaker")
    assert "What differs: cpu is Test CPU against Fast CPU." in found.remarks[0]
    unlike = by_case[soft(threads=7).id]
    assert (unlike.verdict, unlike.reason) == (
        Verdict.NOT_COMPARABLE,
        "no ceiling holds for it on the machine of the base",
    )


def test_a_machine_without_ceilings_is_named() -> None:
    for ceilings, name in (((CEILINGS, ()), "b"), (((), CEILINGS), "a"), (((), ()), "a")):
        with pytest.raises(NotComparableError) as caught:
            compare(*of_machines(1.0, *ceilings), normalise=True)
        assert str(caught.value) == (
            f"a and b cannot be normalised: no ceilings are known of the machine of {name};"
            " run `softmoe-bench calibrate` there, into the same store"
        )


# properties

FIGURES = st.lists(st.floats(0.5, 2.0), min_size=1, max_size=6)
CASES_OF = st.dictionaries(st.integers(0, 5), FIGURES, min_size=1, max_size=5)


def sides_of(figures: dict[int, list[float]], name: str, id_: str) -> RunResults:
    cases = [soft(seed=seed) for seed in figures]
    outcomes = [o for case in cases for o in measured(case, figures[int(case["seed"])])]
    return results(outcomes, cases, of=run(name, id=id_))


@settings(max_examples=60, deadline=None)
@given(CASES_OF, CASES_OF, st.floats(0.5, 2.0))
def test_swapped_runs_mirror_every_verdict(
    base: dict[int, list[float]], candidate: dict[int, list[float]], factor: float
) -> None:
    moved = {seed: [factor * value for value in values] for seed, values in candidate.items()}
    a, b = sides_of(base, "a", "a" * 12), sides_of(moved, "b", "b" * 12)
    there, back = ({row.case_id: row for row in found.rows} for found in (compare(a, b), compare(b, a)))
    assert there.keys() == back.keys()
    for id_, row in there.items():
        assert back[id_].verdict is MIRROR.get(row.verdict, row.verdict)
        assert back[id_].needed == row.needed
        if row.verdict in (Verdict.SLOWER, Verdict.FASTER, Verdict.SAME):
            assert row.replicates > 1


@settings(max_examples=60, deadline=None)
@given(CASES_OF, CASES_OF, st.lists(st.floats(0.2, 5.0), min_size=1, max_size=8))
def test_unrelated_cases_never_turn_same_into_slower(
    base: dict[int, list[float]], candidate: dict[int, list[float]], factors: list[float]
) -> None:
    more = {100 + i: noisy(1.0, 0.02) for i in range(len(factors))}
    changed = {100 + i: noisy(factor, 0.02) for i, factor in enumerate(factors)}
    alone = compare(sides_of(base, "a", "a" * 12), sides_of(candidate, "b", "b" * 12))
    among = compare(sides_of(base | more, "a", "a" * 12), sides_of(candidate | changed, "b", "b" * 12))
    found = {row.case_id: row.verdict for row in among.rows}
    for row in alone.rows:
        if row.verdict is Verdict.SAME:
            assert found[row.case_id] is Verdict.SAME
        elif row.verdict is Verdict.UNCLEAR and row.p is not None and row.p > 0.05:
            assert found[row.case_id] is Verdict.UNCLEAR
