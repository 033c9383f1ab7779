"""What stored duels say, on blocks that were never measured."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from recorded import dense, run, soft

from bench import duels
from bench.records import Case, Observation, Outcome, Planned, Status
from bench.results import RunResults, of_outcomes
from bench.verdicts import Comparisons, Verdict

ROUNDS = 40
QUIET = (0.004, -0.006, 0.002, 0.005, -0.003, 0.001, -0.002, 0.004, 0.0)


def pair(case: Case, number: int, log: float, *, spread: float = 0.01, **facts: object) -> Outcome:
    """A pair whose rounds lie evenly about a log ratio."""
    offsets = [spread * (2 * i / (ROUNDS - 1) - 1) for i in range(ROUNDS)]
    return Outcome(
        case.id,
        number,
        Status.OK,
        observations=(
            Observation("latency", "s", tuple(1e-3 * math.exp(log + offset) for offset in offsets)),
            Observation("base_latency", "s", (1e-3,) * ROUNDS),
        ),
        facts={"outputs_differ_by": 0.0, **facts},
        started=100.0 * number,
        finished=100.0 * number + 2.0,
    )


def weighed(case: Case, base: dict[str, float], candidate: dict[str, float]) -> Outcome:
    observed = tuple(Observation(metric, "B", (value,)) for metric, value in candidate.items())
    return Outcome(case.id, 0, Status.OK, observations=observed, facts={"base": base})


def duel(outcomes: Sequence[Outcome], cases: Sequence[Case], **told: object) -> RunResults:
    settings = {
        "base": "main (abc1234)",
        "candidate": ".",
        "axis": None,
        "looks": [3, 5, 9, 15],
        "threshold": 0.05,
        "thresholds": {},
        **told,
    }
    of = run("duel-quick-1")
    of = replace(of, settings={**of.settings, "duel": settings})
    return of_outcomes(of, [Planned(case) for case in cases], outcomes)


def test_sides_that_ran_with_different_versions_are_said_to() -> None:
    apart = [["torch", "2.11.0", "2.13.0"]]
    assert found(QUIET, sides_differ=apart).remarks == (
        "The sides do not only differ by the change: torch is 2.11.0 against 2.13.0.",
    )
    assert found(QUIET, sides_differ=[]).remarks == ()


def found(logs: Sequence[float], *, spread: float = 0.01, **facts: object) -> Comparisons:
    case = soft()
    return duels.of_results(duel([pair(case, i, log, spread=spread, **facts) for i, log in enumerate(logs, 1)], [case]))


def only(comparisons: Comparisons) -> Verdict:
    assert len(comparisons.rows) == 1
    return comparisons.rows[0].verdict


def test_slower_faster_same_and_the_gate() -> None:
    slower = found([0.2 + log for log in QUIET[:5]])
    assert only(slower) is Verdict.SLOWER
    assert slower.gate == {soft().id}
    assert slower.replicate == "pair"
    assert slower.rows[0].ratio is not None
    assert slower.rows[0].ratio.estimate == pytest.approx(math.exp(0.2), rel=0.01)
    assert only(found([-0.2 + log for log in QUIET[:5]])) is Verdict.FASTER
    same = found(QUIET[:5])
    assert only(same) is Verdict.SAME
    assert not same.gate


@pytest.mark.parametrize("count", [1, 2])
def test_below_the_first_look_nothing_is_claimed(count: int) -> None:
    assert only(found([0.5] * count)) is Verdict.UNCLEAR


def test_unclear_says_how_many_pairs_would_do() -> None:
    row = found([0.30, -0.28, 0.03, 0.22, -0.25], spread=0.5).rows[0]
    assert row.verdict is Verdict.UNCLEAR
    assert row.needed is not None
    assert row.needed > 15
    assert row.seconds == 2.0


def test_a_pair_that_was_disturbed_counts_for_little() -> None:
    """Its rounds lie far apart, so that its own figure is not to be relied on."""
    case = soft()
    calm = [pair(case, i, log) for i, log in enumerate(QUIET[:8], 1)]
    row = duels.of_results(duel([*calm, pair(case, 9, 0.6, spread=3.0)], [case])).rows[0]
    assert row.verdict is Verdict.SAME
    assert row.ratio is not None
    assert row.ratio.estimate == pytest.approx(1.0, abs=0.01)


def test_what_is_counted_is_compared_exactly() -> None:
    case = soft()
    base = {"parameter_memory": 1000.0, "flops_torch": 5e6, "saved_memory": 10.0}
    outcomes = [weighed(case, base, {**base, "saved_memory": 12.0}), *(pair(case, i, 0.0) for i in range(1, 6))]
    row = duels.of_results(duel(outcomes, [case])).rows[0]
    assert [(c.metric, c.base, c.candidate, c.worse) for c in row.changes] == [("saved_memory", 10.0, 12.0, True)]
    allowed = duels.of_results(duel(outcomes, [case], thresholds={"memory": 0.5})).rows[0]
    assert not allowed.worse_in


def test_a_side_that_fails_is_named() -> None:
    lost = {"base_status": "error", "base_detail": "Traceback\nValueError: no such layer"}
    cases = [soft(), dense(), soft(num_experts=2)]
    outcomes = [
        Outcome(cases[0].id, 0, Status.OK, facts=lost),
        Outcome(cases[1].id, 0, Status.ERROR, "Traceback\nImportError: gone"),
        Outcome(cases[2].id, 0, Status.ERROR, "Traceback\nImportError: gone", facts=lost),
    ]
    rows = {row.case_id: row for row in duels.of_results(duel(outcomes, cases)).rows}
    assert (rows[cases[0].id].verdict, rows[cases[0].id].reason) == (
        Verdict.NEW,
        "the base has error: ValueError: no such layer",
    )
    assert (rows[cases[1].id].verdict, rows[cases[1].id].reason) == (Verdict.FAILED, "error: ImportError: gone")
    assert rows[cases[2].id].verdict is Verdict.NOT_COMPARABLE


def test_cases_that_one_side_alone_asks_for_are_missing_or_new() -> None:
    case, gone, fresh = soft(), dense(), soft(num_experts=2)
    told = {"missing": [dict(gone)], "new": [dict(fresh)]}
    rows = duels.of_results(duel([pair(case, i, 0.0) for i in range(1, 6)], [case], **told)).rows
    assert {row.case_id: row.verdict for row in rows} == {
        case.id: Verdict.SAME,
        gone.id: Verdict.MISSING,
        fresh.id: Verdict.NEW,
    }


def test_outputs_that_differ_are_said() -> None:
    assert found(QUIET[:5], outputs_differ_by=0.02).rows[0].reason == "outputs differ by 2.0e-02"
    assert not found(QUIET[:5], outputs_differ_by=1e-6).rows[0].reason


def test_an_output_that_is_not_finite_is_said() -> None:
    assert (
        found(QUIET[:5], outputs_not_finite=["candidate"]).rows[0].reason == "not finite: the output of the candidate"
    )


def test_a_base_that_is_lost_later_makes_no_case_new() -> None:
    case = soft()
    lost = Outcome(case.id, 2, Status.OK, facts={"base_status": "crashed", "base_detail": "signal 11"})
    row = duels.of_results(duel([pair(case, 1, 0.0), lost], [case])).rows[0]
    assert row.verdict is Verdict.NOT_COMPARABLE
    assert row.reason == "the base has crashed in pair 2: signal 11"


def test_a_run_that_is_no_duel_is_refused() -> None:
    with pytest.raises(ValueError, match="is no duel"):
        duels.of_results(of_outcomes(run(), [], []))
