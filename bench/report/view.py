"""The cases of all runs as the report names and groups them: kind (layer and backend), design, workload."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import mode
from typing import TYPE_CHECKING

from bench.records import Status
from bench.report import naming
from bench.results import order_axes, varying

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.axes import AxisValue
    from bench.results import CaseResult, Figure, RunResults

DERIVED = ("slots_per_expert", "group_size")
"""Axes that a grid often derives from another one; a name leaves them out where the rest implies them."""

MOST_WAITING = 100
"""Cases that were not measured and still have a row each."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One case of one run, equal only to itself.

    `layer` is the layer's title and `kind` names it with its backend; `design` are the layer's own axes that vary,
    `workload` those of the work asked for; `run_name` is empty where there is only one run.
    """

    run: RunResults
    number: int
    result: CaseResult
    layer: str
    kind: str
    design: str
    workload: str
    run_name: str

    @property
    def series(self) -> str:
        """Kind and run: what has one colour and marker throughout."""
        return self._with_run(self.kind)

    @property
    def short(self) -> str:
        """Kind and design, for places that speak of one run."""
        return ", ".join(filter(None, (self.kind, self.design)))

    @property
    def name(self) -> str:
        """Kind, design and run."""
        return self._with_run(self.short)

    @property
    def plain(self) -> str:
        """Kind, design and workload, for places that speak of one run or of all."""
        return ", ".join(filter(None, (self.short, self.workload)))

    @property
    def full(self) -> str:
        """Kind, design, workload and run."""
        return self._with_run(self.plain)

    @property
    def anchor(self) -> str:
        """The id of the case's row on the page."""
        return f"case-{self.number + 1}-{self.result.case.id}"

    @property
    def case(self) -> Mapping[str, AxisValue]:
        """The axes."""
        return self.result.case

    @property
    def ok(self) -> bool:
        """Whether the case ended well; figures of one that did not are kept, but not ranked."""
        return self.result.status is Status.OK

    def figure(self, metric: str) -> Figure | None:
        """Returns a figure, None where it is unknown."""
        return self.result.figures.get(metric)

    def value(self, metric: str) -> float | None:
        """Returns an estimate, None where it is unknown."""
        return self.result.value(metric)

    def _with_run(self, name: str) -> str:
        return f"{name} [{self.run_name}]" if self.run_name else name


@dataclass(frozen=True)
class View:
    """All entries, and which axes tell them apart."""

    entries: tuple[Entry, ...]
    series: tuple[str, ...]
    own: Mapping[str, tuple[str, ...]]
    workload_axes: tuple[str, ...]
    several: bool

    def with_figure(self, *names: str) -> list[Entry]:
        """Returns the entries that have any of these metrics."""
        return [entry for entry in self.entries if any(entry.figure(name) for name in names)]

    def timed(self) -> list[Entry]:
        """Returns the entries that ended well and have a latency."""
        return [entry for entry in self.with_figure("latency") if entry.ok]

    def by_workload(self, entries: Iterable[Entry]) -> dict[str, list[Entry]]:
        """Returns entries grouped by the work that is asked for, which is what a comparison must hold fixed."""
        groups: dict[str, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(entry.workload, []).append(entry)
        return groups

    @property
    def listed(self) -> tuple[Entry, ...]:
        """Those with a row in the table of all figures: all but those that a run never came to, where they are many."""
        waiting = sum(entry.result.status is None for entry in self.entries)
        if waiting <= MOST_WAITING:
            return self.entries
        return tuple(entry for entry in self.entries if entry.result.status is not None)

    @property
    def axes(self) -> list[str]:
        """Every axis that tells cases apart, in the order of their table."""
        return order_axes(sorted({name for names in self.own.values() for name in names} | set(self.workload_axes)))


def of(runs: Sequence[RunResults]) -> View:
    """Returns the view of some runs; every section asks for the same one."""
    return _of(tuple(runs))


@lru_cache(maxsize=2)
def _of(runs: tuple[RunResults, ...]) -> View:
    cases = [result.case for found in runs for result in found.cases]
    titles = [naming.layer(case) for case in cases]
    by_layer: dict[str, list[Mapping[str, AxisValue]]] = {}
    for title, case in zip(titles, cases, strict=True):
        by_layer.setdefault(title, []).append(case)
    asked = {name for case in cases for name in case if naming.is_workload(name)}
    workload = order_axes([name for name in asked if len({case.get(name) for case in cases}) > 1])
    own = {name: tuple(_own(group)) for name, group in by_layer.items()}
    if "d_ff" in workload and not any("d_ff" in varying(group) for group in by_layer.values()):
        # layers of matched work, each with one width, rather than one layer at several: only unusual widths are named
        widths = {name: group[0].get("d_ff") for name, group in by_layer.items()}
        usual = mode(widths.values())
        workload.remove("d_ff")
        own = {name: axes if widths[name] == usual else (*axes, "d_ff") for name, axes in own.items()}
    several = len(runs) > 1
    remaining = iter(titles)
    entries = [
        Entry(
            run=found,
            number=number,
            result=result,
            layer=(layer := next(remaining)),
            kind=naming.kind(result.case),
            design=naming.words(result.case, own[layer]),
            workload=naming.words(result.case, workload),
            run_name=name if several else "",
        )
        for number, (found, name) in enumerate(zip(runs, run_names(runs), strict=True))
        for result in found.cases
    ]
    series = tuple(dict.fromkeys(entry.series for entry in entries))
    return View(tuple(entries), series, own, tuple(workload), several)


def implied(name: str, by: Sequence[str], cases: Sequence[Mapping[str, AxisValue]]) -> bool:
    """Whether other axes already tell the value of this one."""
    seen: dict[tuple[AxisValue, ...], AxisValue] = {}
    return all(seen.setdefault(pick(case, by), case.get(name)) == case.get(name) for case in cases)


def pick(case: Mapping[str, AxisValue], names: Sequence[str]) -> tuple[AxisValue, ...]:
    """Returns the values of some axes, None where the case lacks one."""
    return tuple(case.get(name) for name in names)


def spread(items: Sequence[str], most: int) -> list[str]:
    """Returns at most so many items, the first, the last and others evenly between."""
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[0]]
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def run_names(runs: Sequence[RunResults]) -> list[str]:
    """Returns the names of runs, with the start of their ids where two share a name."""
    names = [naming.line(found.run.name) for found in runs]
    return [
        f"{name} ({found.run.id[:8]})" if names.count(name) > 1 else name
        for name, found in zip(names, runs, strict=True)
    ]


def _own(cases: Sequence[Mapping[str, AxisValue]]) -> list[str]:
    """Returns the axes of its own by which the cases of one layer differ, without those that others imply."""
    names = [name for name in varying(cases) if name not in {"layer", "backend"}]
    for name in DERIVED:
        others = [other for other in names if other != name]
        if name in names and others and implied(name, [*others, "backend"], cases):
            names = others
    return [name for name in names if not naming.is_workload(name)]
