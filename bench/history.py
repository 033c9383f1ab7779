"""How a case went over many runs: one figure per run, the runs between which its level changed, and by how much.

Candidates for a change come from PELT (R. Killick, P. Fearnhead, I. Eckley, JASA 107, 2012) as `ruptures` has it (C.
Truong, L. Oudre, N. Vayatis, Signal Processing 167, 2020), and are kept only where they are real steps, as
`bench.steps` tells them. It is for reading, never a gate: a machine changes too, and one that is busy for three runs
makes two steps.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench import caveats, metrics, steps
from bench.environment import differences
from bench.stats import Interval, geometric_interval
from bench.steps import FEWEST
from bench.verdicts import THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Case, Run

LATENCY, RELATIVE = "latency", "relative_latency"

TOLD = ("kernel", "host", "virtual_machine", "container", "cpu_governor", "cpu_turbo", "transparent_huge_pages")
"""Informational facts that stay as they are until somebody changes them; beside packages and the GPU's driver."""


@dataclass(frozen=True)
class Reading:
    """What run number `run` found of a case: metric -> repeat -> the median of a process; nothing where it failed."""

    run: int
    figures: Mapping[str, Mapping[int, float]]
    disturbed: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Point:
    """The figure of one run: `run` is its place among the runs, `figure` the estimate over its processes."""

    run: int
    figure: Interval


@dataclass(frozen=True)
class Series:
    """One case on one machine, a point per run that measured it; `missing` are the runs that planned it in vain."""

    case: Case
    machine: str
    metric: str
    points: tuple[Point, ...]
    missing: tuple[int, ...] = ()

    @property
    def unit(self) -> str:
        """The base unit of the figures."""
        return metrics.TABLE[self.metric].unit

    @property
    def values(self) -> list[float]:
        """The figure of each run."""
        return [point.figure.estimate for point in self.points]

    @property
    def change(self) -> float | None:
        """Last over first figure, None where there is no first one that could be divided by."""
        values = self.values
        return values[-1] / values[0] if len(values) > 1 and values[0] > 0 else None


@dataclass(frozen=True)
class Change:
    """A step between two runs that follow each other in a series: `before` and `after` are their places among the runs.

    `at` is the first point of the new level. `ratio` is new level over old one, `p` the probability of such a step
    where nothing changes.
    """

    at: int
    before: int
    after: int
    ratio: Interval
    p: float


@dataclass(frozen=True)
class Trend:
    """A series and what became of its level; `remark` says why nothing can be said of it."""

    series: Series
    changes: tuple[Change, ...] = ()
    remark: str = ""

    def levels(self) -> list[tuple[int, int, float]]:
        """Returns (first point, last point, geometric mean) of each level; none where a figure is not above zero."""
        values = self.series.values
        if not values or min(values) <= 0:
            return []
        ends = [0, *(change.at for change in self.changes), len(values)]
        return [
            (first, last - 1, math.exp(fmean(map(math.log, values[first:last]))))
            for first, last in itertools.pairwise(ends)
        ]

    def badness(self, ratio: float) -> float:
        """Returns how much worse a ratio of two figures is, on the logarithm; below zero is better."""
        better = metrics.TABLE[self.series.metric].better
        size = math.log(ratio) if ratio > 0 else 0.0
        return {"lower": size, "higher": -size, None: abs(size)}[better]


@dataclass(frozen=True)
class History:
    """All series, the worst change first; `threshold` is the smallest step that counts.

    `cases` are those that names must tell apart: those of the series, and what else their runs measured.
    """

    runs: tuple[Run, ...]
    metric: str
    threshold: float
    trends: tuple[Trend, ...]
    remarks: tuple[str, ...] = ()
    cases: tuple[Case, ...] = ()

    @property
    def changes(self) -> int:
        """How many steps there are in all."""
        return sum(len(trend.changes) for trend in self.trends)

    @property
    def several_machines(self) -> bool:
        """Whether the series are from more than one machine."""
        return len({trend.series.machine for trend in self.trends}) > 1


def belongs(run: Run) -> bool:
    """Whether a run is part of a history: one that measured cases once, neither against themselves nor in a duel."""
    return "duel" not in run.settings and run.command.split()[1:2] not in (["selfcheck"], ["duel"])


def series(case: Case, machine: str, readings: Sequence[Reading], metric: str = LATENCY) -> Series:
    """Returns one figure per run; latency is taken over the reference kernel where every run has that."""
    if metric == LATENCY and all(RELATIVE in reading.figures for reading in readings if LATENCY in reading.figures):
        metric = RELATIVE
    points = [Point(r.run, _figure(r, metric)) for r in readings if r.figures.get(metric)]
    missing = tuple(r.run for r in readings if not r.figures.get(metric))
    return Series(case, machine, metric, tuple(points), missing)


def analyse(
    runs: Sequence[Run],
    found: Sequence[Series],
    *,
    metric: str = LATENCY,
    threshold: float = THRESHOLD,
    remarks: Sequence[str] = (),
    beside: Sequence[Case] = (),
) -> History:
    """Returns the history of some series, with the changes that remain real among all of them.

    `beside` are cases that their names must be told apart from.
    """
    usable = {i: s.values for i, s in enumerate(found) if not _unusable(s)}
    seeds = {i: int(found[i].case.id, 16) for i in usable}
    cuts = steps.find([(values, seeds[i]) for i, values in usable.items()], threshold)
    changed = dict(zip(usable, cuts, strict=True))
    trends = [
        Trend(s, tuple(_change(s, step) for step in changed.get(i, ())), _unusable(s)) for i, s in enumerate(found)
    ]
    ordered = sorted(trends, key=_place)
    cases = tuple({case.id: case for case in (*(trend.series.case for trend in ordered), *beside)}.values())
    return History(tuple(runs), metric, threshold, tuple(ordered), tuple(remarks), cases)


def say(change: Change, runs: Sequence[Run]) -> str:
    """Returns a change in words: the runs with their commits, by how much, and what else differs between them."""
    before, after = runs[change.before], runs[change.after]
    text = f"between run {_named(before)} and run {_named(after)}: {percent(change.ratio.estimate)}"
    if change.ratio.low is not None and change.ratio.high is not None:
        text += f" ({percent(change.ratio.low, sign=False)} to {percent(change.ratio.high, sign=False)})"
    notes = []
    if commit(before, 40) and commit(before, 40) == commit(after, 40) and not (_dirty(before) or _dirty(after)):
        notes.append("the commit is the same")
    if others := also_changed(before, after):
        notes.append(f"also changed: {', '.join(others)}")
    if (gap := change.after - change.before - 1) > 0:
        notes.append(f"{gap} {'run' if gap == 1 else 'runs'} in between without a figure of it")
    return "; ".join([text, *notes])


def commit(run: Run, length: int = 7) -> str:
    """Returns the start of the commit that a run was made at, empty where it is not known."""
    git = run.environment.informational.get("git")
    return str(git.get("commit") or "")[:length] if isinstance(git, dict) else ""


def also_changed(before: Run, after: Run) -> list[str]:
    """Returns the facts, versions and drivers that differ between two runs of one machine."""
    told = differences(_lasting(before), _lasting(after))
    return [f"{name.replace('_', ' ')} {a or 'unknown'} → {b or 'unknown'}" for name, a, b in told]


def percent(ratio: float, *, sign: bool = True) -> str:
    """Returns a ratio as the change that it is, in whole per cent."""
    number = round(100 * (ratio - 1))
    return f"{number:+d} %" if sign and number else f"{number} %"


def _figure(reading: Reading, metric: str) -> Interval:
    """Returns the estimate over the processes; what disturbed ones say counts only where too few others remain."""
    by_repeat = reading.figures[metric]
    calm = [value for repeat, value in by_repeat.items() if repeat not in reading.disturbed]
    values = calm if len(calm) >= caveats.FEW_REPEATS else list(by_repeat.values())
    if min(values) > 0:
        return geometric_interval(values)
    return Interval(fmean(values), None, None, len(values))


def _unusable(of: Series) -> str:
    """Returns why no change can be looked for, empty where it can."""
    if not of.points:
        return "no run has a figure of it"
    if len(of.points) < FEWEST:
        return f"change points need at least {FEWEST} runs, this has {len(of.points)}"
    return "" if min(of.values) > 0 else "change points need figures above zero"


def _change(of: Series, step: steps.Step) -> Change:
    """Returns a step with the runs that it lies between."""
    return Change(step.at, of.points[step.at - 1].run, of.points[step.at].run, step.ratio, step.p)


def _place(trend: Trend) -> tuple[bool, float, float]:
    """Returns the place of a trend: the worst change first, then what moved most without one."""
    worst = max((trend.badness(change.ratio.estimate) for change in trend.changes), default=0.0)
    moved = abs(trend.badness(trend.series.change or 1.0))
    return not trend.changes, -worst, -moved


def _named(run: Run) -> str:
    """Returns a run with its commit."""
    known = f"commit {commit(run)}" if commit(run) else "no commit known"
    return f"{run.name} ({known}{' with changes' if _dirty(run) else ''})"


def _dirty(run: Run) -> bool:
    """Whether files differed from the commit."""
    git = run.environment.informational.get("git")
    return bool(isinstance(git, dict) and git.get("dirty"))


def _lasting(run: Run) -> dict[str, Any]:
    """Returns the informational facts that tell something when they change."""
    facts = run.environment.informational
    packages, gpus = facts.get("packages"), facts.get("gpus")
    found: dict[str, Any] = {name: facts.get(name) for name in TOLD}
    found |= packages if isinstance(packages, dict) else {}
    if isinstance(gpus, list | tuple) and gpus and isinstance(gpus[0], dict):
        found |= {f"GPU {name}": gpus[0].get(name) for name in ("driver", "power_limit_w")}
    return found
