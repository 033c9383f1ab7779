"""How latency and throughput follow each axis of the grid that varies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report import blocks, naming, panels, view
from bench.report.charts import Look, Mark
from bench.report.curves import Plane, Series, curves
from bench.report.section import Section
from bench.report.view import pick, spread
from bench.results import varying

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.axes import AxisValue
    from bench.report.charts import Chart
    from bench.report.view import Entry, View
    from bench.results import RunResults

NUMERIC = (
    "num_experts",
    "total_slots",
    "slots_per_expert",
    "top_k",
    "capacity_factor",
    "group_size",
    "num_shared_experts",
    "expert_groups",
    "top_groups",
    "batch_size",
    "seq_len",
    "d_model",
    "d_ff",
    "threads",
)
CATEGORIES = (
    "variant",
    "backend",
    "dtype",
    "mode",
    "launch",
    "cache",
    "input",
    "device",
    "normalize",
    "capacity_rounding",
    "assignment",
)
METRICS = (
    ("latency", "Latency", "latency, lower is better"),
    ("throughput", "Throughput", "throughput, higher is better"),
)
MOST_FACETS = 3
MOST_SERIES = 8
MOST_AXES = 6


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns charts over every axis that varies, or None where none does."""
    seen = view.of(runs)
    timed = seen.timed()
    blocks_of_axes = [(name, *found) for name in (*NUMERIC, *CATEGORIES) if (found := _over(seen, timed, name))[0]]
    if not blocks_of_axes:
        return None
    parts = [
        blocks.paragraph(
            "Each mark is one case, its whisker the 95 % interval over fresh processes; marks are set a little apart "
            "so that whiskers do not hide each other. A dashed level line is a layer that does not have the axis. "
            "Axes on which values grow fourfold or more are logarithmic: equal steps are equal factors."
        )
    ]
    for name, charts, note in blocks_of_axes[:MOST_AXES]:
        parts += [blocks.heading(f"Over {naming.axis(name)}"), blocks.gallery(charts)]
        if note:
            parts.append(blocks.paragraph(note, "soft"))
    if len(blocks_of_axes) > MOST_AXES:
        rest = naming.join([naming.axis(name) for name, *_ in blocks_of_axes[MOST_AXES:]])
        parts.append(blocks.paragraph(f"Not drawn: {rest}. The table of all figures has every case.", "soft"))
    return Section("scaling", "Cost scaling", blocks.merge(parts))


def value(entry: Entry, name: str) -> AxisValue:
    """Returns an axis' value; total slots follow from experts and slots of each."""
    if name != "total_slots":
        return entry.case.get(name)
    factors = entry.case.get("num_experts"), entry.case.get("slots_per_expert")
    return int(factors[0]) * int(factors[1]) if factors[0] is not None and factors[1] is not None else None


def has(entry: Entry, name: str) -> bool:
    """Whether a case can be placed on an axis; on a numeric one, `none` cannot."""
    return value(entry, name) is not None if name in NUMERIC else name in entry.case


def _over(seen: View, timed: Sequence[Entry], name: str) -> tuple[list[Chart], str]:
    """Returns the charts over one axis, and what they leave out."""
    placed = [entry for entry in timed if has(entry, name)]
    if len({value(entry, name) for entry in placed}) < 2 or not _worth(seen, placed, name):
        return [], ""
    level = [entry for entry in timed if not has(entry, name)]
    shared, private = _other_axes(seen, placed, name)
    marked, flat, style = _Index(placed, shared), _Index(level, shared), _Style(seen)
    drawn = [
        (facet, series)
        for facet in _facets(placed, shared)
        if (series := _series(marked.of(facet), flat.of(facet), name, private, style))
    ]
    keep = spread([str(i) for i in range(len(drawn))], MOST_FACETS)
    charts, dropped = [], 0
    for i in (int(word) for word in keep):
        facet, series = drawn[i]
        dropped += max(0, len(series["latency"]) - MOST_SERIES)
        where = naming.words(dict(zip(shared, facet, strict=True)), shared)
        for metric, title, up in METRICS:
            plane = Plane(naming.axis_label(name), up, "s" if metric == "latency" else "token/s", name in NUMERIC)
            heading = f"{title}, {where}" if where else title
            charts.append(curves(f"scaling-{name}-{i}-{metric}", heading, plane, _foremost(series[metric])))
    words = []
    if len(drawn) > MOST_FACETS:
        words.append(f"{MOST_FACETS} of {len(drawn)} combinations of the other axes are drawn")
    if dropped:
        words.append(f"{naming.count(dropped, 'line')} beyond the first {MOST_SERIES} of a chart left out")
    return charts, f"{'; '.join(words)}. The table of all figures has every case." if words else ""


def _foremost(series: list[Series]) -> list[Series]:
    """Returns as many series as a chart has room for: level ones make room for those that have the axis."""
    room = MOST_SERIES - sum(line.level is None for line in series)
    level = [line for line in series if line.level is not None][: max(0, room)]
    return [line for line in series if line.level is None or line in level][:MOST_SERIES]


def _worth(seen: View, placed: Sequence[Entry], name: str) -> bool:
    """Whether an axis shows something that no other one does."""
    if name == "total_slots":
        own = {axis for axes in seen.own.values() for axis in axes}
        return {"num_experts", "slots_per_expert"} <= own
    if name in seen.workload_axes:
        return True
    by_layer: dict[str, set[AxisValue]] = {}
    for entry in placed:
        if name == "backend" or name in seen.own[entry.layer]:
            by_layer.setdefault(entry.layer, set()).add(value(entry, name))
    return any(len(values) > 1 for values in by_layer.values())


def _other_axes(seen: View, placed: Sequence[Entry], name: str) -> tuple[list[str], list[str]]:
    """Returns the other axes that vary: those for panels, and those that tell the series of one layer apart."""
    layers = {entry.layer for entry in placed}
    within = {axis for layer in layers for axis in varying([e.case for e in placed if e.layer == layer])}
    replaced = {"num_experts", "slots_per_expert", "total_slots"} if name == "total_slots" else {name}
    told = {*seen.workload_axes, *within} & set(varying([entry.case for entry in placed])) - replaced
    others = [axis for axis in seen.axes if axis in told]
    owners = {axis: {layer for layer in layers if axis in seen.own[layer]} for axis in others}
    private = [axis for axis in others if axis not in seen.workload_axes and len(owners[axis]) < 2]
    shared = [axis for axis in others if axis not in private]
    return shared, private


def _facets(placed: Sequence[Entry], shared: Sequence[str]) -> list[tuple[AxisValue, ...]]:
    """Returns the panels: what the shared axes are set to, by the entries that have most of them."""
    most = max(sum(axis in entry.case for axis in shared) for entry in placed)
    full = [entry for entry in placed if sum(axis in entry.case for axis in shared) == most]
    return list(dict.fromkeys(pick(entry.case, shared) for entry in full))


class _Index:
    """Entries by what the axes of the panels are set to; an entry that lacks an axis belongs into all panels."""

    def __init__(self, entries: Sequence[Entry], shared: Sequence[str]) -> None:
        self._found: dict[tuple[int, ...], dict[tuple[AxisValue, ...], list[tuple[int, Entry]]]] = {}
        for place, entry in enumerate(entries):
            has_ = tuple(i for i, axis in enumerate(shared) if axis in entry.case)
            values = tuple(entry.case[shared[i]] for i in has_)
            self._found.setdefault(has_, {}).setdefault(values, []).append((place, entry))

    def of(self, facet: tuple[AxisValue, ...]) -> list[Entry]:
        """Returns the entries of one panel in their order."""
        fitting = [
            placed for has_, found in self._found.items() for placed in found.get(tuple(facet[i] for i in has_), ())
        ]
        return [entry for _, entry in sorted(fitting, key=lambda placed: placed[0])]


class _Style:
    """How series are drawn, and which is the first of a layer in each run."""

    def __init__(self, seen: View) -> None:
        self.looks = panels.looks(seen)
        self.first = {(e.number, e.layer): e.series for e in reversed(seen.entries)}


def _series(
    fitting: Sequence[Entry], flat: Sequence[Entry], name: str, private: Sequence[str], style: _Style
) -> dict[str, list[Series]]:
    """Returns the lines of one panel for each metric; nothing where no line has two marks."""
    lines: dict[str, list[Entry]] = {}
    for entry in fitting:
        kind = entry.layer if name == "backend" else entry.kind
        words = ", ".join(filter(None, (kind, naming.words(entry.case, private))))
        lines.setdefault(f"{words} [{entry.run_name}]" if entry.run_name else words, []).append(entry)
    if not any(len({value(entry, name) for entry in line}) > 1 for line in lines.values()):
        return {}
    named = [
        (style.first[line[0].number, line[0].layer] if name == "backend" else line[0].series, text)
        for text, line in lines.items()
    ]
    numbers = _numbers([*named, *((e.series, e.name) for e in flat)], style.looks)
    return {
        metric: [
            *(Series(e.name, numbers[e.name], level=_mark(e, metric)) for e in flat),
            *(
                Series(text, numbers[text], tuple((value(e, name), _mark(e, metric)) for e in _sorted(line, name)))
                for text, line in lines.items()
            ),
        ]
        for metric, *_ in METRICS
    }


def _numbers(named: Sequence[tuple[str, str]], looks: dict[str, Look]) -> dict[str, Look]:
    """Returns a look for each series: that of its kind for the first, a free one for its siblings."""
    taken: dict[str, Look] = {}
    used = {looks[kind].number for kind, _ in named}
    for kind, text in named:
        if looks[kind] not in taken.values():
            taken[text] = looks[kind]
            continue
        number = next(i for i in range(len(looks) + len(named) + 1) if i not in used)
        used.add(number)
        taken[text] = Look(number)
    return taken


def _sorted(line: Sequence[Entry], name: str) -> list[Entry]:
    """Returns the entries of a line from left to right."""
    if name not in NUMERIC:
        return list(line)
    return sorted(line, key=lambda entry: float(value(entry, name) or 0))


def _mark(entry: Entry, metric: str) -> Mark:
    """Returns the figure of an entry as a mark without look, which its series has."""
    found = entry.result.figures[metric]
    return Mark(found.value, found.interval.low, found.interval.high)
