"""A stored run as people ask about it: per case one status, its caveats, and a figure with an interval per metric."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from bench import caveats, metrics
from bench.axes import AXES
from bench.counts import COUNTERS, count_of
from bench.metrics import roofline
from bench.records import INSPECTION, Case, Flag, Outcome, Planned, Run, Status
from bench.stats import Interval, between_spread, geometric_interval, within_spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bench.axes import AxisValue
    from bench.records import Ceiling, Environment
    from bench.store import Store


@dataclass(frozen=True)
class Figure:
    """One metric of one case: an estimate over processes with its interval, and each process' median by repeat.

    `within` and `between` say how far the samples of one process and the medians of processes lie apart, both as
    relative standard deviations (see `bench.stats`), None where too few are known.
    """

    metric: str
    unit: str
    interval: Interval
    by_repeat: Mapping[int, float]
    samples: int
    within: float | None = None
    between: float | None = None

    @property
    def value(self) -> float:
        """The estimate in base units."""
        return self.interval.estimate


@dataclass(frozen=True, eq=False)
class CaseResult:
    """Everything known of one case of a run; `status` is None where nothing was measured yet.

    It is equal only to itself: comparing thousands of them by all that they hold takes minutes.

    `ceilings` are those of its machine, as `bench.metrics.roofline` names them.
    """

    case: Case
    status: Status | None
    detail: str
    flags: tuple[Flag, ...]
    figures: Mapping[str, Figure]
    outcomes: tuple[Outcome, ...]
    ceilings: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def disturbed(self) -> set[int]:
        """The repeats in which something else used the machine; judged by its load, never by the figure."""
        return {o.repeat for o in self.outcomes if any(flag.code in caveats.DISTURBED for flag in o.flags)}

    def value(self, metric: str) -> float | None:
        """Returns the estimate of a metric, None where it is unknown."""
        figure = self.figures.get(metric)
        return None if figure is None else figure.value


@dataclass(frozen=True, eq=False)
class RunResults:
    """A run with the results of its cases, in the order of the plan; equal only to itself, as they are."""

    run: Run
    cases: tuple[CaseResult, ...]

    def varying(self) -> list[str]:
        """Returns the axes with more than one value among the cases that have them, in the order of their table."""
        return varying([result.case for result in self.cases])

    def count(self, status: Status | None) -> int:
        """Returns how many cases ended in a status."""
        return sum(result.status is status for result in self.cases)


def load(store: Store, run: Run) -> RunResults:
    """Returns the results of a stored run, held against what its machine was calibrated to, whenever that was."""
    measured = store.ceilings(run.environment.fingerprint)
    return of_outcomes(run, store.plan(run.id), store.outcomes(run.id), measured)


def of_outcomes(
    run: Run, plan: Sequence[Planned], outcomes: Sequence[Outcome], measured: Sequence[Ceiling] = ()
) -> RunResults:
    """Returns the results that a plan's outcomes amount to, on a machine with these measured ceilings."""
    by_case: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_case.setdefault(outcome.case_id, []).append(outcome)
    machine = run.environment
    return RunResults(run, tuple(_case(p.case, by_case.get(p.case.id, []), machine, measured) for p in plan))


def samples(
    case: Case, outcome: Outcome, ceilings: Mapping[str, tuple[float, ...]]
) -> Iterator[tuple[str, str, tuple[float, ...]]]:
    """Yields metric, unit and samples of one process: observed ones, then those that follow from them."""
    observed = {o.metric: o.samples for o in outcome.observations} | dict(ceilings)
    for observation in outcome.observations:
        yield observation.metric, observation.unit, observation.samples
    if outcome.status is not Status.OK:
        return
    for metric in metrics.TABLE.values():
        fits = all(need in observed for need in metric.needs) if metric.needs else outcome.repeat == INSPECTION
        if metric.derive is not None and fits and (derived := metric.derive(case, observed)):
            yield metric.name, metric.unit, derived


def marks(outcome: Outcome) -> dict[int, tuple[str, ...]]:
    """Returns what a worker marked latency samples with, by their index: such as `throttled` or `preempted`."""
    found: dict[int, tuple[str, ...]] = {}
    for name, indices in outcome.facts.get("marks", {}).items():
        for index in indices:
            found[index] = (*found.get(index, ()), name)
    return found


def varying(cases: Iterable[Mapping[str, AxisValue]]) -> list[str]:
    """Returns the axes with more than one value among the cases that have them, in the order of their table."""
    values: dict[str, set[AxisValue]] = {}
    for case in cases:
        for name, value in case.items():
            values.setdefault(name, set()).add(value)
    return order_axes([name for name, found in values.items() if len(found) > 1])


def ended(processes: Iterable[tuple[Status, str]]) -> tuple[Status | None, str]:
    """Returns how a case ended, and why if it did not end well, by how its processes did."""
    known = list(processes)
    return next((one for one in known if one[0] is not Status.OK), (Status.OK if known else None, ""))


def seconds(found: CaseResult) -> float | None:
    """Returns how long a process that times a case takes, None where it is not known."""
    taken = [o.finished - o.started for o in found.outcomes if o.repeat != INSPECTION and o.samples("latency")]
    known = [each for each in taken if each > 0]
    return median(known) if known else None


def order_axes(names: Sequence[str]) -> list[str]:
    """Returns axes in the order of their table, unknown ones last."""
    rank = {name: i for i, name in enumerate(AXES)}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))


def _case(case: Case, outcomes: Sequence[Outcome], machine: Environment, measured: Sequence[Ceiling]) -> CaseResult:
    """Returns the result of one case."""
    ceilings = roofline.known(case, machine, measured)
    medians: dict[str, dict[int, float]] = {}
    unit_of: dict[str, str] = {}
    taken: dict[str, list[tuple[float, ...]]] = {}
    flags = [flag for outcome in outcomes for flag in outcome.flags]
    for outcome in outcomes:
        for metric, unit, values in samples(case, outcome, ceilings):
            medians.setdefault(metric, {})[outcome.repeat] = median(values)
            unit_of[metric] = unit
            taken.setdefault(metric, []).append(values)
        flags += caveats.of_samples(outcome.samples("latency"))
    figures = {
        metric: Figure(
            metric,
            unit_of[metric],
            _interval(list(values.values())),
            values,
            sum(map(len, taken[metric])),
            within=within_spread(taken[metric]),
            between=between_spread(list(values.values())),
        )
        for metric, values in medians.items()
    }
    if latency := figures.get("latency"):
        flags += caveats.of_repeats(latency.interval.half_width, latency.interval.replicates)
        flags += _marked(outcomes, latency.value)
        flags += roofline.judge(case, latency.value, ceilings, machine)
    expected = figures.get("flops_executed")
    for outcome in outcomes:
        counted = (count_of(outcome, counter) for counter in COUNTERS)
        flags += caveats.of_counts(None if expected is None else expected.value, *counted)
    status, detail = ended([(o.status, o.detail) for o in outcomes])
    return CaseResult(case, status, detail, _merge(flags), figures, tuple(outcomes), ceilings)


def _marked(outcomes: Sequence[Outcome], seconds: float) -> list[Flag]:
    """Returns the caveat of marked samples, with the latency that the others give if they are at least half."""
    names: dict[str, int] = {}
    total = marked = 0
    kept = []
    for outcome in outcomes:
        latencies, marked_here = outcome.samples("latency"), marks(outcome)
        for name in (name for index in sorted(marked_here) for name in marked_here[index]):
            names[name] = names.get(name, 0) + 1
        total += len(latencies)
        marked += len(marked_here)
        kept.append([seconds for index, seconds in enumerate(latencies) if index not in marked_here])
    medians = [median(samples) for samples in kept if samples]
    enough = bool(medians) and 2 * marked <= total
    without = _interval(medians).estimate if enough else None
    return caveats.of_marks(names, marked, total, seconds, without)


def _interval(values: Sequence[float]) -> Interval:
    """Returns the estimate over processes; a figure that may be zero comes from one process and has no interval."""
    if len(values) > 1 and min(values) > 0:
        return geometric_interval(values)
    return Interval(median(values), None, None, len(values))


def _merge(flags: Sequence[Flag]) -> tuple[Flag, ...]:
    """Returns each caveat once, with the first detail and how many processes raised it."""
    found: dict[str, list[Flag]] = {}
    for flag in flags:
        found.setdefault(flag.code, []).append(flag)
    return tuple(
        Flag(code, f"{same[0].detail} (in {len(same)} processes)".strip() if len(same) > 1 else same[0].detail)
        for code, same in found.items()
    )
