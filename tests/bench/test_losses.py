"""What became of a case that was not timed in both runs: every end of the base against every end of the candidate."""

import pytest
from recorded import failed, inspected, measured, results, soft, timed

from bench import losses, sides
from bench.records import Outcome, Status
from bench.sides import CaseSide
from bench.verdicts import Verdict

CASE = soft()
MIRROR = {Verdict.MISSING: Verdict.NEW, Verdict.NEW: Verdict.MISSING, Verdict.FAILED: Verdict.NEW}
ENDS: dict[str, list[Outcome] | None] = {
    "no such case": None,
    "not measured": [],
    "skipped": [failed(CASE, Status.SKIPPED, "no device cuda")],
    "unsupported": [failed(CASE, Status.UNSUPPORTED, "no kernel")],
    "crashed": [failed(CASE, Status.CRASHED, "signal 11\nlog")],
    "inspected": [inspected(CASE)],
    "timed": measured(CASE, [1.0, 1.0, 1.0]),
}
ABSENT = ("no such case", "not measured")


def one(end: str) -> CaseSide | None:
    outcomes = ENDS[end]
    return None if outcomes is None else sides.of(results(outcomes, [CASE])).cases[0]


def end_of(base: str, candidate: str) -> str:
    found = losses.verdict(one(base), one(candidate))
    return "judged" if found is None else found[0].value


EXPECTED = {
    "no such case": ("not comparable", "not comparable", "not comparable", "not comparable", "new", "new", "new"),
    "not measured": ("not comparable", "not comparable", "not comparable", "not comparable", "new", "new", "new"),
    "skipped": ("not comparable",) * 5 + ("new", "new"),
    "unsupported": ("not comparable",) * 5 + ("new", "new"),
    "crashed": ("missing", "missing", "not comparable", "not comparable", "not comparable", "new", "new"),
    "inspected": ("missing", "missing", "missing", "missing", "failed", "not comparable", "new"),
    "timed": ("missing", "missing", "missing", "missing", "failed", "missing", "judged"),
}
"""By the base's end, the candidate's in the order of ENDS."""


@pytest.mark.parametrize("base", ENDS)
def test_every_end_against_every_other(base: str) -> None:
    assert tuple(end_of(base, candidate) for candidate in ENDS) == EXPECTED[base]


@pytest.mark.parametrize(
    ("base", "candidate", "reason"),
    [
        ("timed", "no such case", "candidate: no result"),
        ("timed", "crashed", "crashed: signal 11"),
        ("timed", "unsupported", "candidate: unsupported: no kernel"),
        ("timed", "inspected", "candidate: no process timed it"),
        ("crashed", "timed", "base: crashed: signal 11"),
        ("no such case", "timed", ""),
        ("no such case", "crashed", "candidate: crashed: signal 11"),
        ("skipped", "skipped", "both: skipped: no device cuda"),
        ("crashed", "skipped", "base: crashed: signal 11; candidate: skipped: no device cuda"),
    ],
)
def test_reasons(base: str, candidate: str, reason: str) -> None:
    assert losses.verdict(one(base), one(candidate))[1] == reason


def test_what_crashes_in_one_process_of_several_fails_though_others_timed_it() -> None:
    well, partly = measured(CASE, [1.0] * 4), [*measured(CASE, [1.0] * 3), failed(CASE, Status.CRASHED, repeat=4)]
    base, candidate = (sides.of(results(outcomes, [CASE])).cases[0] for outcomes in (well, partly))
    assert losses.verdict(base, candidate)[0] is Verdict.FAILED
    assert losses.verdict(candidate, base) is None
    assert losses.verdict(candidate, candidate) is None


def test_swapped_runs_mirror_what_was_lost() -> None:
    for base in ENDS:
        for candidate in ENDS:
            there, back = losses.verdict(one(base), one(candidate)), losses.verdict(one(candidate), one(base))
            if there is not None and there[0] is not Verdict.NEW:
                assert back[0] is MIRROR.get(there[0], there[0]), (base, candidate)


def test_a_latency_of_zero_times_nothing() -> None:
    outcomes = [inspected(CASE), timed(CASE, 1, 0.0), timed(CASE, 2, 1.0)]
    assert sides.of(results(outcomes, [CASE])).cases[0].latency is None
