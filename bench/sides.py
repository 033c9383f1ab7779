"""One side of a comparison: what is asked of a stored run, and no more, so that ten thousand cases are read at once."""

from __future__ import annotations

import math
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

    def varying(self) -> list[str]:
        """Returns the axes with more than one value among the cases that have them, in the order of their table."""
        return results.varying([one.case for one in self.cases])

    def attainable(self, case: Case) -> float | None:
        """Returns the least seconds that a case could take on the machine of the run, None where that is not known."""
        return roofline.attainable(case, roofline.known(case, self.run.environment, self.ceilings))


def of(found: RunResults, ceilings: Sequence[Ceiling] = ()) -> RunSide:
    """Returns what a comparison asks of results that are known already."""
    return RunSide(found.run, tuple(map(_of_result, found.cases)), tuple(ceilings))


def load(store: Store, run: Run) -> RunSide:
    """Returns what a comparison asks of a stored run; of samples only their medians are read."""
    processes: dict[str, list[_Process]] = {}
    for case_id, repeat, status, detail, flags, seconds, *known in store.read(_processes(run.id)):
        row = _Process(repeat, status, detail, flags, seconds, Medians(*known))
        processes.setdefault(case_id, []).append(row)
    counted: dict[str, dict[str, float]] = {}
    for case_id, metric, samples in store.read(_counted(run.id)):
        counted.setdefault(case_id, {})[metric] = samples[0] if len(samples) == 1 else median(samples)
    cases = [Case(axes) for (axes,) in store.read(_plan(run.id))]
    of_cases = [processes.get(case.id, []) for case in cases]
    intervals = _intervals([[p.medians.latency for p in of_case if p.medians.latency] for of_case in of_cases])
    found = map(_of_processes, cases, of_cases, intervals, (counted.get(case.id, {}) for case in cases))
    return RunSide(run, tuple(found), store.ceilings(run.environment.fingerprint))


class _Process(NamedTuple):
    """A row of what is asked of a process."""

    repeat: int
    status: str
    detail: str
    flags: Sequence[Mapping[str, str]]
    seconds: float
    medians: Medians


def _processes(run_id: str) -> sql.Select[Any]:
    """Returns the query for the processes of a run: the case, then what `_Process` has, in the order of repeats."""
    known = OUTCOMES.c
    return (
        sql.select(
            known.case_id,
            known.repeat,
            known.status,
            known.detail,
            known.flags,
            known.finished - known.started,
            *(known[name] for name in Medians._fields),
        )
        .where(known.run_id == run_id)
        .order_by(known.case_id, known.repeat)
    )


def _counted(run_id: str) -> sql.Select[Any]:
    """Returns the query for the exact figures of a run: case, metric, samples."""
    known = OBSERVATIONS.c
    wanted = known.run_id == run_id, known.metric.in_(exact.METRICS)
    return sql.select(known.case_id, known.metric, known.samples).where(*wanted).order_by(known.case_id, known.repeat)


def _plan(run_id: str) -> sql.Select[Any]:
    """Returns the query for the axes of a run's cases, in order."""
    of_plan = sql.select(CASES.c.axes).join(PLANS, CASES.c.id == PLANS.c.case_id)
    return of_plan.where(PLANS.c.run_id == run_id).order_by(PLANS.c.position)


def _of_processes(
    case: Case, processes: Sequence[_Process], interval: Interval | None, counted: Mapping[str, float]
) -> CaseSide:
    """Returns a case of which this is known; `interval` is that of its latency."""
    status, detail = results.ended([(Status(p.status), p.detail) for p in processes])
    if interval is None:
        return CaseSide(case, status, detail, exact=counted)
    timed = [p for p in processes if p.medians.latency]
    disturbed = {p.repeat for p in timed if any(flag["code"] in caveats.DISTURBED for flag in p.flags)}
    times = of_medians({p.repeat: p.medians for p in timed}, disturbed)
    figure = Figure("latency", "s", interval, times.latency, sum(p.medians.samples or 0 for p in timed))
    taken = [p.seconds for p in timed if p.repeat != INSPECTION and p.seconds > 0]
    return CaseSide(case, status, detail, figure, times, counted, median(taken) if taken else None)


def _of_result(found: CaseResult) -> CaseSide:
    """Returns a case of which everything is known."""
    known = {metric: found.figures[metric].value for metric in exact.METRICS if metric in found.figures}
    latency = found.figures.get("latency")
    if latency is None or min(latency.by_repeat.values()) <= 0:
        return CaseSide(found.case, found.status, found.detail, exact=known)
    return CaseSide(found.case, found.status, found.detail, latency, side(found), known, results.seconds(found))


def _intervals(of_cases: Sequence[Sequence[float]]) -> Iterator[Interval | None]:
    """Yields the interval of each case's latency over its processes, None where there is none."""
    timed = [(Sample(tuple(map(math.log, values))),) for values in of_cases if values]
    found = iter(resampling.estimates(timed, drawn=False))
    for values in of_cases:
        yield next(found).interval if values else None
