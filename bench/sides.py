"""One side of a comparison: what is asked of a stored run, and no more, so that ten thousand cases are read at once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sql

from bench import caveats, exact, resampling, results
from bench.judging import Side, of_medians, side
from bench.medians import Medians
from bench.metrics import roofline
from bench.records import INSPECTION, Case, Status
from bench.resampling import Sample
from bench.results import Figure
from bench.schema import CASES, OBSERVATIONS, OUTCOMES, PLANS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.records import Ceiling, Run
    from bench.results import CaseResult, RunResults
    from bench.stats import Interval
    from bench.store import Store


@dataclass(frozen=True)
class CaseSide:
    """One case of one run: how it ended, its latency and what a verdict on it is made of, and its exact figures.

    `latency` and `times` are None where no process timed it. `seconds` is what a process that times it takes, None
    where that is not known.
    """

    case: Case
    status: Status | None
    detail: str
    latency: Figure | None = None
    times: Side | None = None
    exact: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True)
class RunSide:
    """A run with its cases, in the order of the plan, and the ceilings that were measured on its machine."""

    run: Run
    cases: tuple[CaseSide, ...]
    ceilings: tuple[Ceiling, ...] = ()

    def attainable(self, case: Case) -> float | None:
        """Returns the least seconds that a case could take on the machine of the run, None where that is not known."""
        return roofline.attainable(case, roofline.known(case, self.run.environment, self.ceilings))


def of(found: RunResults, ceilings: Sequence[Ceiling] = ()) -> RunSide:
    """Returns what a comparison asks of results that are known already."""
    return RunSide(found.run, tuple(map(_of_result, found.cases)), tuple(ceilings))


def load(store: Store, *runs: Run) -> list[RunSide]:
    """Returns what a comparison asks of stored runs; of samples only their medians are read."""
    known: dict[str, Case] = {}
    return [_load(store, run, known) for run in runs]


def _load(store: Store, run: Run, known: dict[str, Case]) -> RunSide:
    """Returns what a comparison asks of a stored run, and adds its cases to those known by their ids."""
    processes: dict[str, list[_Process]] = {}
    for case_id, *row in store.read(_processes(run.id), plain=True):
        processes.setdefault(case_id, []).append(_Process._make(row))
    counted: dict[str, dict[str, float]] = {}
    for case_id, metric, samples in store.read(_counted(run.id), plain=True):
        counted.setdefault(case_id, {}).setdefault(metric, _median(samples))
    cases = [
        known.get(id_) or known.setdefault(id_, Case(json.loads(axes)))
        for id_, axes in store.read(_plan(run.id), plain=True)
    ]
    of_cases = [processes.get(case.id, []) for case in cases]
    intervals = _intervals([[p.latency for p in of_case if p.latency] for of_case in of_cases])
    found = map(_of_processes, cases, of_cases, intervals, (counted.get(case.id, {}) for case in cases))
    return RunSide(run, tuple(found), store.ceilings(run.environment.fingerprint))


def _median(samples: str) -> float:
    """Returns the median of samples in JSON, most of which are one."""
    return median(json.loads(samples)) if "," in samples else float(samples[1:-1])


class _Process(NamedTuple):
    """A row of what is asked of a process, JSON as text."""

    repeat: int
    status: str
    detail: str
    flags: str
    seconds: float
    latency: float | None
    relative_latency: float | None
    half_width: float | None
    samples: int | None

    @property
    def disturbed(self) -> bool:
        """Whether something else used the machine."""
        return self.flags != "[]" and any(flag["code"] in caveats.DISTURBED for flag in json.loads(self.flags))


def _processes(run_id: str) -> sql.Select[Any]:
    """Returns the query for the processes of a run: the case, then what `_Process` has, in the order of repeats."""
    known = OUTCOMES.c
    wanted = (known.repeat, known.status, known.detail, sql.cast(known.flags, sql.Text), known.finished - known.started)
    found = sql.select(known.case_id, *wanted, *(known[name] for name in Medians._fields))
    return found.where(known.run_id == run_id).order_by(known.case_id, known.repeat)


def _counted(run_id: str) -> sql.Select[Any]:
    """Returns the query for the exact figures of a run: case, metric, samples as text; first processes come first."""
    known = OBSERVATIONS.c
    found = sql.select(known.case_id, known.metric, sql.cast(known.samples, sql.Text))
    return found.where(known.run_id == run_id, known.metric.in_(exact.METRICS)).order_by(known.case_id, known.repeat)


def _plan(run_id: str) -> sql.Select[Any]:
    """Returns the query for the cases of a run, in order: id, axes as text."""
    of_plan = sql.select(CASES.c.id, sql.cast(CASES.c.axes, sql.Text)).join(PLANS, CASES.c.id == PLANS.c.case_id)
    return of_plan.where(PLANS.c.run_id == run_id).order_by(PLANS.c.position)


def _of_processes(
    case: Case, processes: Sequence[_Process], interval: Interval | None, counted: Mapping[str, float]
) -> CaseSide:
    """Returns a case of which this is known; `interval` is that of its latency."""
    bad = next((p for p in processes if p.status != Status.OK.value), processes[0] if processes else None)
    status, detail = (None, "") if bad is None else (STATUSES[bad.status], bad.detail)
    if interval is None:
        return CaseSide(case, status, detail, exact=counted)
    timed = [p for p in processes if p.latency]
    medians = {p.repeat: Medians(p.latency, p.relative_latency, p.half_width, p.samples) for p in timed}
    times = of_medians(medians, {p.repeat for p in timed if p.disturbed})
    figure = Figure("latency", "s", interval, times.latency, sum(p.samples or 0 for p in timed))
    taken = [p.seconds for p in timed if p.repeat != INSPECTION and p.seconds > 0]
    return CaseSide(case, status, detail, figure, times, counted, median(taken) if taken else None)


STATUSES = {status.value: status for status in Status}


def _of_result(found: CaseResult) -> CaseSide:
    """Returns a case of which everything is known."""
    known = {metric: found.figures[metric].value for metric in exact.METRICS if metric in found.figures}
    latency = found.figures.get("latency")
    if latency is None or min(latency.by_repeat.values()) <= 0:
        return CaseSide(found.case, found.status, found.detail, exact=known)
    return CaseSide(found.case, found.status, found.detail, latency, side(found), known, results.seconds(found))


def _intervals(of_cases: Sequence[Sequence[float]]) -> Iterator[Interval | None]:
    """Yields the interval of each case's latency over its processes, None where there is none."""
    timed = [(Sample(tuple(values)),) for values in of_cases if values]
    found = iter(resampling.estimates(timed, drawn=False))
    for values in of_cases:
        yield next(found).interval if values else None
