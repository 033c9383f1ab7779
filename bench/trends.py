"""The series of a history from a store: only the samples of one metric are read, whatever else the runs hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePath
from statistics import median
from typing import TYPE_CHECKING

import sqlalchemy as sql

from bench import caveats, history, metrics
from bench.errors import InputError, unknown
from bench.history import LATENCY, RELATIVE, Reading
from bench.metrics import roofline
from bench.records import INSPECTION, Case, Status
from bench.schema import CASES, OBSERVATIONS, OUTCOMES, PLANS
from bench.verdicts import THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bench.history import History
    from bench.metrics import Metric
    from bench.records import Run
    from bench.store import Store

ALL = "all"
LEAST_PREFIX = 3
MOST_NAMES = 8
Place = tuple[str, str]
"""Ids of a run and of a case."""

CHUNK = 400
"""Runs asked for in one statement; databases limit how many values one may hold."""


@dataclass(frozen=True)
class Chosen:
    """The runs that are looked at, oldest first, and their cases in the order of the newest plan.

    `planned` are the cases of each run; `beside` are all cases of the newest one, looked at or not.
    """

    runs: tuple[Run, ...]
    cases: Mapping[str, Case]
    planned: frozenset[Place]
    remarks: tuple[str, ...]
    beside: tuple[Case, ...]


def load(
    store: Store,
    word: str,
    *,
    metric: str = LATENCY,
    last: int | None = None,
    all_machines: bool = False,
    threshold: float = THRESHOLD,
) -> History:
    """Returns the history of a case or of the cases of a grid over the runs of a store.

    Raises:
        InputError: an unknown metric, case or grid.
    """
    if metric not in metrics.TABLE:
        raise InputError(unknown("metric", metric, metrics.TABLE))
    chosen = choose(store, word, last=last, all_machines=all_machines)
    names = (LATENCY, RELATIVE) if metric == LATENCY else (metric,)
    well, disturbed = _outcomes(store, chosen)
    found = _figures(store, chosen, [metrics.TABLE[name] for name in names], well)
    machines = list(dict.fromkeys(run.environment.fingerprint for run in chosen.runs))
    series = []
    for machine in machines:
        here = [(i, run) for i, run in enumerate(chosen.runs) if run.environment.fingerprint == machine]
        for id_, case in chosen.cases.items():
            readings = [
                Reading(i, found.get((run.id, id_), {}), frozenset(disturbed.get((run.id, id_), ())))
                for i, run in here
                if (run.id, id_) in chosen.planned
            ]
            if readings:
                series.append(history.series(case, machine, readings, metric))
    return history.analyse(
        chosen.runs, series, metric=metric, threshold=threshold, remarks=chosen.remarks, beside=chosen.beside
    )


def choose(store: Store, word: str, *, last: int | None = None, all_machines: bool = False) -> Chosen:
    """Returns the runs and cases that a word names: a grid, `all`, or a case by its id or the start of it.

    Raises:
        InputError: there is no such grid or case.
    """
    known = store.runs()
    if not known:
        raise InputError(f"store {store.shown_as} has no run yet: make one with `softmoe-bench run --grid quick`")
    usable = [run for run in known if history.belongs(run) and run.state != "running"]
    planned = _plans(store, usable)
    of_grid = [run for run in usable if word == ALL or word in _grid_words(run)]
    ids = {id_ for pairs in planned.values() for id_ in pairs}
    if of_grid:
        runs = of_grid
    else:
        ids = {_case_id(word, ids, usable, store.shown_as)}
        runs = [run for run in usable if ids & set(planned[run.id])]
    remarks = []
    if left := len(known) - len(usable):
        remarks.append(f"{_runs(left)} left out: of selfcheck or duel, or not finished")
    newest = runs[-1].environment.fingerprint
    if not all_machines and (others := [run for run in runs if run.environment.fingerprint != newest]):
        remarks.append(f"{_runs(len(others))} of other machines or libraries left out: --all-machines shows them")
        runs = [run for run in runs if run.environment.fingerprint == newest]
    runs = runs[-last:] if last else runs
    order = [id_ for run in reversed(runs) for id_ in planned[run.id] if id_ in ids]
    pairs = frozenset((run.id, id_) for run in runs for id_ in planned[run.id])
    beside = tuple(_cases(store, planned[runs[-1].id]).values())
    return Chosen(tuple(runs), _cases(store, list(dict.fromkeys(order))), pairs, tuple(remarks), beside)


def _runs(count: int) -> str:
    """Returns a number of runs."""
    return f"{count} {'run' if count == 1 else 'runs'}"


def _grid_words(run: Run) -> set[str]:
    """Returns the words by which the grid of a run may be called: as it was given, its file's stem, its own name."""
    return {run.grid, PurePath(run.grid).stem, re.sub(r"-\d+$", "", run.name)}


def _case_id(word: str, ids: set[str], runs: Sequence[Run], where: str) -> str:
    """Returns the case that an id or the start of one names.

    Raises:
        InputError: none, or several.
    """
    found = sorted(id_ for id_ in ids if id_ == word or (len(word) >= LEAST_PREFIX and id_.startswith(word)))
    if len(found) == 1 or word in found:
        return word if word in found else found[0]
    if found:
        more = ", ..." if len(found) > MOST_NAMES else ""
        raise InputError(f"case {word} is not unique: {', '.join(found[:MOST_NAMES])}{more}; give more of its id")
    grids = list(dict.fromkeys(PurePath(run.grid).stem for run in reversed(runs)))
    near = get_close_matches(word, [*grids, ALL, *sorted(ids)], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    shown = ", ".join(grids[:MOST_NAMES]) + (", ..." if len(grids) > MOST_NAMES else "")
    raise InputError(
        f"unknown case or grid '{word}'{hint} (store {where} has runs of: {shown or 'none'}; `{ALL}` stands for every"
        f" case, and a case is named by {LEAST_PREFIX} or more characters of its id, which `history {ALL}` shows)"
    )


def _plans(store: Store, runs: Sequence[Run]) -> dict[str, list[str]]:
    """Returns the ids of the cases of each run, in the order of its plan."""
    found: dict[str, list[str]] = {run.id: [] for run in runs}
    for some in _chunks([run.id for run in runs]):
        query = sql.select(PLANS.c.run_id, PLANS.c.case_id).where(PLANS.c.run_id.in_(some), PLANS.c.skip.is_(None))
        for run_id, case_id in store.read(query.order_by(PLANS.c.run_id, PLANS.c.position)):
            found[run_id].append(case_id)
    return found


def _cases(store: Store, ids: Sequence[str]) -> dict[str, Case]:
    """Returns cases by their ids, in the order of these."""
    axes: dict[str, Case] = {}
    for some in _chunks(ids):
        rows = store.read(sql.select(CASES.c.id, CASES.c.axes).where(CASES.c.id.in_(some)))
        axes |= {id_: Case(found) for id_, found in rows}
    return {id_: axes[id_] for id_ in ids}


def _outcomes(store: Store, chosen: Chosen) -> tuple[dict[Place, set[int]], dict[Place, set[int]]]:
    """Returns the repeats of each run and case of which all ended well, and those that something else disturbed."""
    table = OUTCOMES.c
    well: dict[Place, set[int]] = {}
    disturbed: dict[Place, set[int]] = {}
    failed = set()
    for some in _chunks([run.id for run in chosen.runs]):
        query = sql.select(table.run_id, table.case_id, table.repeat, table.status, table.flags)
        for run_id, case_id, repeat, status, flags in store.read(
            query.where(table.run_id.in_(some), _of_case(table.case_id, chosen))
        ):
            well.setdefault((run_id, case_id), set()).add(repeat)
            if status != Status.OK.value:
                failed.add((run_id, case_id))
            if any(flag["code"] in caveats.DISTURBED for flag in flags):
                disturbed.setdefault((run_id, case_id), set()).add(repeat)
    return {place: repeats for place, repeats in well.items() if place not in failed}, disturbed


def _figures(
    store: Store, chosen: Chosen, wanted: Sequence[Metric], well: Mapping[Place, set[int]]
) -> dict[Place, dict[str, dict[int, float]]]:
    """Returns metric -> repeat -> median of each run and case of which every process ended well."""
    known = _known(store, chosen, wanted)
    observed = dict(_processes(store, chosen, wanted))
    found: dict[Place, dict[str, dict[int, float]]] = {}
    for place, repeats in well.items():
        case = chosen.cases[place[1]]
        for repeat in sorted(repeats):
            seen = observed.get((*place, repeat), {}) | known.get(place, {})
            _add(found.setdefault(place, {}), case, repeat, seen, wanted)
    return found


def _add(
    place: dict[str, dict[int, float]],
    case: Case,
    repeat: int,
    observed: Mapping[str, tuple[float, ...]],
    wanted: Iterable[Metric],
) -> None:
    """Adds what one process says of the metrics."""
    for metric in wanted:
        if metric.derive is None:
            samples = observed.get(metric.name, ())
        elif all(need in observed for need in metric.needs) if metric.needs else repeat == INSPECTION:
            samples = metric.derive(case, observed)
        else:
            samples = ()
        if samples:
            place.setdefault(metric.name, {})[repeat] = median(samples)


def _processes(
    store: Store, chosen: Chosen, wanted: Sequence[Metric]
) -> Iterator[tuple[tuple[str, str, int], dict[str, tuple[float, ...]]]]:
    """Yields run, case and repeat of every process with the samples that the metrics need."""
    names = {name for metric in wanted for name in (metric.needs if metric.derive else (metric.name,))}
    table = OBSERVATIONS.c
    for some in _chunks([run.id for run in chosen.runs]):
        query = sql.select(table.run_id, table.case_id, table.repeat, table.metric, table.samples).where(
            table.run_id.in_(some), table.metric.in_(names), _of_case(table.case_id, chosen)
        )
        gathered: dict[tuple[str, str, int], dict[str, tuple[float, ...]]] = {}
        for run_id, case_id, repeat, metric, samples in store.read(query):
            gathered.setdefault((run_id, case_id, repeat), {})[metric] = tuple(samples)
        yield from gathered.items()


def _known(store: Store, chosen: Chosen, wanted: Sequence[Metric]) -> dict[Place, dict[str, tuple[float, ...]]]:
    """Returns what is known of the machine, by run and case, where a metric needs it."""
    if not any(set(metric.needs) & set(roofline.KNOWN) for metric in wanted):
        return {}
    prints = {run.environment.fingerprint: run.environment for run in chosen.runs}
    measured = {fingerprint: store.ceilings(fingerprint) for fingerprint in prints}
    return {
        (run.id, id_): roofline.known(case, run.environment, measured[run.environment.fingerprint])
        for run in chosen.runs
        for id_, case in chosen.cases.items()
    }


def _of_case(column: sql.ColumnElement[str], chosen: Chosen) -> sql.ColumnElement[bool]:
    """Returns the condition that rows are of the case at hand; none where every case of the runs is."""
    return column == next(iter(chosen.cases)) if len(chosen.cases) == 1 else sql.true()


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yields ids, so many at once as one statement may hold."""
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]
