"""What a comparison reads of a store is what all that is known of the run amounts to."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded import CEILINGS, dense, failed, inspected, run, soft

from bench import results, sides
from bench.compare import compare
from bench.records import Case, Flag, Observation, Outcome, Planned, Status
from bench.sides import CaseSide
from bench.store import Store, open_store

CASES = [soft(), dense(), soft(num_experts=16), dense(batch_size=2), soft(batch_size=4)]


def process(case: Case, repeat: int, draw: np.random.Generator, **more: object) -> Outcome:
    """A process with noise within and between, wavering with its reference kernel."""
    pace = np.exp(0.1 * draw.normal()) * np.exp(0.05 * draw.normal(size=30))
    own = 0.02 * pace * np.exp(0.03 * draw.normal(size=30))
    observed = Observation("latency", "s", tuple(own)), Observation("reference_latency", "s", tuple(1e-3 * pace))
    known = Outcome(
        case.id, repeat, Status.OK, observations=observed, started=10.0 * repeat, finished=10.0 * repeat + 2
    )
    return replace(known, **more)


def outcomes(seed: int) -> Iterator[Outcome]:
    draw = np.random.default_rng(seed)
    for case in CASES[:3]:
        yield inspected(case, memory=2e6 * (1 + seed))
        yield from (process(case, repeat, draw) for repeat in range(1, 6))
    yield failed(CASES[3], Status.CRASHED, "signal 11")
    yield process(CASES[3], 1, draw)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two runs; the second has a disturbed process, one that failed after timing, and one without reference."""
    made = open_store(str(tmp_path / "s.db"), create=True)
    for number, name in enumerate(("base", "candidate")):
        of = run(name, id=f"{number:012d}")
        made.start_run(of, [*(Planned(case) for case in CASES[:4]), Planned(CASES[4], "no device cuda")])
        for outcome in outcomes(number):
            made.add_outcome(of.id, outcome)
    draw = np.random.default_rng(9)
    for outcome in (
        process(CASES[0], 1, draw, flags=(Flag("noisy"), Flag("loaded", "1.0 cores")), facts={"half_width": 0.5}),
        process(CASES[0], 2, draw, facts={"relative_half_width": 0.07, "samples_taken": 4000}),
        process(CASES[1], 3, draw, status=Status.ERROR, detail="Traceback\nValueError: late"),
        process(CASES[2], 4, draw, observations=(Observation("latency", "s", (0.02, 0.021, 0.019)),)),
    ):
        made.add_outcome("000000000001", outcome)
    made.keep_ceilings(run().environment, CEILINGS)
    yield made
    made.close()


def without_figure(one: CaseSide) -> CaseSide:
    return replace(one, latency=None)


def test_the_fast_way_finds_what_the_slow_way_does(store: Store) -> None:
    runs = [store.find(name) for name in ("base", "candidate")]
    for fast, found in zip(sides.load(store, *runs), map(lambda r: results.load(store, r), runs), strict=True):  # noqa: C417
        slow = sides.of(found, CEILINGS)
        assert (fast.run, fast.ceilings) == (slow.run, CEILINGS)
        assert list(map(without_figure, fast.cases)) == list(map(without_figure, slow.cases))
        for one, other in zip(fast.cases, slow.cases, strict=True):
            assert (one.latency is None) is (other.latency is None)
            if one.latency and other.latency:
                assert one.latency.by_repeat == other.latency.by_repeat
                assert one.latency.unit == "s"
                assert one.latency.interval.low == pytest.approx(other.latency.interval.low)
                assert one.latency.interval.high == pytest.approx(other.latency.interval.high)


def test_it_is_the_same_comparison(store: Store) -> None:
    runs = [store.find(name) for name in ("base", "candidate")]
    fast, slow = compare(*sides.load(store, *runs)), compare(*(results.load(store, one) for one in runs))
    for one, other in zip(fast.rows, slow.rows, strict=True):
        assert (one.name, one.verdict, one.reason, one.changes) == (
            other.name,
            other.verdict,
            other.reason,
            other.changes,
        )
        assert (one.ratio, one.raw, one.p, one.seconds) == (other.ratio, other.raw, other.p, other.seconds)


def test_what_is_read_of_processes(store: Store) -> None:
    _, side = sides.load(store, store.find("base"), store.find("candidate"))
    first, second, third, crashed, skipped = side.cases
    assert first.times.disturbed == {1}
    assert first.times.errors[2] == pytest.approx(0.07 / 1.96)
    assert first.latency.samples == 4 * 30 + 4000
    assert first.seconds == 2.0
    assert first.exact["peak_memory"] == 4e6
    assert (second.status, second.detail) == (Status.ERROR, "Traceback\nValueError: late")
    assert second.times.relative is None
    assert third.times.relative is None
    assert len(third.times.latency) == 5
    assert (crashed.status, len(crashed.times.latency)) == (Status.CRASHED, 1)
    assert (skipped.status, skipped.detail, skipped.times) == (Status.SKIPPED, "no device cuda", None)


def test_cases_of_both_runs_are_one(store: Store) -> None:
    base, candidate = sides.load(store, store.find("base"), store.find("candidate"))
    assert all(a.case is b.case for a, b in zip(base.cases, candidate.cases, strict=True))
    assert [one.case for one in base.cases] == CASES
