"""The same case on several devices: how many times as fast one is as the other, and what else differs between them.

No verdict is given across devices: what is said is the ratio of the latencies that each device had in its own run.
"""

from __future__ import annotations

from statistics import geometric_mean
from typing import TYPE_CHECKING

from bench import environment, units
from bench.axes import show_value
from bench.report import blocks, naming, panels, sides, view
from bench.report.blocks import Column, Table
from bench.report.charts import Look, Mark, Row, Scale, rows
from bench.report.facts import fact, fact_name
from bench.report.section import Section
from bench.report.view import spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from bench.axes import AxisValue
    from bench.report.charts import Chart
    from bench.report.sides import Pair, Same, Side
    from bench.report.view import Entry, View
    from bench.results import RunResults
    from bench.stats import Interval

HARDWARE = frozenset(
    (
        *("cpu", "cpu_signature", "cpu_simd", "cpu_capability", "cores_physical", "cores_usable", "cpu_quota"),
        *("memory_bytes", "torch_threads", "gpu", "gpu_memory_bytes", "gpu_sm_count", "gpu_compute_capability"),
    )
)
"""Comparable facts that are the device itself; the others are its software and settings."""

EXPLAINED = (
    "No verdict is given across devices. A ratio is of the latencies that each device had in its own run; its interval "
    "(Welch's t over the medians of fresh processes, on the logarithm) does not know what a machine does differently "
    "on another day. Memory is not set side by side: on a CPU it is the resident set of a process, on a GPU what torch "
    "allocated."
)
FOLD_FROM = 40
TF32 = "float32 on {} is computed in TF32 (tf32 is on): its products keep 10 bits of the fraction, not 23."


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns what each case takes on each device, or None where all cases ran on one."""
    seen = view.of(runs)
    found = sides.of(seen, runs)
    if len({side.device for side in found}) < 2:
        return None
    base, *others = found
    shared = [same for same in base.entries if any(same in other.entries for other in others)]
    names = {same: _name(seen, base.entries[same]) for same in shared}
    against = [side for side in others if side.device != base.device]
    pairs = {side.label: sides.pairs(base, side, names) for side in against}
    said = [line for side in against for line in _say(base, side, pairs[side.label])]
    parts: list[Markup | str] = [
        blocks.items([*said, *_differences(found, shared)]),
        blocks.paragraph(EXPLAINED, "soft"),
    ]
    if drawn := _chart(base, pairs):
        parts.append(blocks.gallery([drawn]))
    if shared:
        table = _table(found, against, names, pairs)
        fold = len(shared) >= FOLD_FROM
        parts.append(blocks.details(f"{len(shared)} cases on each device", table) if fold else table)
    if len(runs) > 2:  # of two runs, the comparison has them
        parts.append(_facts(runs))
    return Section("devices", "Devices", blocks.merge(parts))


def _name(seen: View, entry: Entry) -> str:
    """Returns what a case is called on every device."""
    work = naming.words(entry.case, [name for name in seen.workload_axes if name != "device"])
    return ", ".join(filter(None, (entry.short, work)))


def _say(base: Side, other: Side, pairs: Mapping[Same, Pair]) -> list[str]:
    """Returns which of two devices is how many times as fast, in which cases."""
    if not pairs:
        return [f"{other.label} and {base.label} have no case in common."]
    total, found = len(pairs), list(pairs.values())
    faster = [pair for pair in found if pair.faster and pair.differs and pair.faster.estimate > 1]
    slower = [pair for pair in found if pair.faster and pair.differs and pair.faster.estimate < 1]
    lines = []
    if faster:
        lines.append(
            _range(other.label, base.label, [(pair.faster, pair.case) for pair in faster if pair.faster], total)
        )
    if slower:
        turned = [(sides.inverse(pair.faster), pair.case) for pair in slower if pair.faster]
        lines.append(_range(base.label, other.label, turned, total))
    same = sum(not pair.why and not pair.differs for pair in found)
    if same:
        lines.append(f"In {same} of {naming.count(total, 'case')} {other.label} and {base.label} cannot be told apart.")
    for why in dict.fromkeys(pair.why for pair in found if pair.why):
        count = sum(pair.why == why for pair in found)
        lines.append(f"Not compared: {count} of {naming.count(total, 'case')}, which {why}.")
    return lines


def _range(faster: str, slower: str, ratios: Sequence[tuple[Interval, str]], total: int) -> str:
    """Returns by how much one device is the faster one."""
    ordered = sorted(ratios, key=lambda pair: pair[0].estimate)
    ends = [f"{_factor(each.estimate)} times in {case} (95\u00a0% interval {_reach(each)})"
            for each, case in (ordered[0], ordered[-1])]  # fmt: skip
    which = "the one case that both have" if total == 1 else f"{len(ordered)} of {total} cases that both have"
    if len(ordered) == 1:
        return f"{faster} is faster than {slower} in {which}: {ends[0]}."
    mean = _factor(geometric_mean([each.estimate for each, _ in ordered]))
    return f"{faster} is faster than {slower} in {which}: from {ends[0]} to {ends[1]}, geometric mean {mean} times."


def _factor(number: float) -> str:
    """Returns how many times, in three digits."""
    return f"{number:.1f}" if 10 <= number < 99.95 else naming.ratio(number)


def _reach(found: Interval) -> str:
    """Returns the interval of a ratio, a dash without one."""
    if found.low is None or found.high is None:
        return units.UNKNOWN
    return f"{_factor(found.low)} to {_factor(found.high)}"


def _differences(every: Sequence[Side], shared: Sequence[Same]) -> list[str]:
    """Returns what else than the device differs, and which cases have no counterpart."""
    base, lines = every[0], []
    for other in every[1:]:
        facts = [side.run.run.environment.comparable for side in (base, other)]
        told = [
            f"{fact_name(name)} ({fact(name, a)}; {fact(name, b)})"
            for name, a, b in environment.differences(facts[0], facts[1])
            if name not in HARDWARE and a is not None and b is not None
        ]
        if told:
            lines.append(
                f"Not only the device differs between {base.label} and {other.label}: {naming.join(told, 8)}. "
                "A ratio is of all of it together."
            )
    for side in every:
        on_gpu = any(entry.case.get("device") == "cuda" for entry in side.entries.values())
        reduced = on_gpu and side.run.run.environment.comparable.get("tf32") is True
        if reduced and any(dict(same).get("dtype") == "float32" for same in shared):
            lines.append(TF32.format(side.label))
        lines += _alone(side, [other for other in every if other is not side])
    return lines


def _alone(side: Side, others: Sequence[Side]) -> list[str]:
    """Returns how many cases of a device no other one has, and in which axes they differ from what others have."""
    alone = [dict(same) for same in side.entries if not any(same in other.entries for other in others)]
    if not alone:
        return []
    known = [dict(same) for other in others for same in other.entries]
    apart = []
    for name in dict.fromkeys(name for case in alone for name in case):
        ours, theirs = ({case[name] for case in cases if name in case} for cases in (alone, known))
        if theirs and not ours & theirs:
            apart.append(f"{naming.axis(name)} ({_values(ours)}; there {_values(theirs)})")
    why = f": they differ in {naming.join(apart)}" if apart else ""
    which = naming.count(len(alone), "case")
    return [f"Not compared: {which} of {side.label} without the same case on another device{why}."]


def _values(values: set[AxisValue]) -> str:
    """Returns some values of an axis."""
    return naming.join(sorted(naming.line(show_value(value), 40) for value in values))


def _chart(base: Side, pairs: Mapping[str, Mapping[Same, Pair]]) -> Chart | None:
    """Returns the ratios in rows, the largest first."""
    marks: dict[Same, dict[str, Interval]] = {}
    for label, of_side in pairs.items():
        for same, pair in of_side.items():
            if pair.faster:
                marks.setdefault(same, {})[label] = pair.faster
    if not marks:
        return None
    looks = {label: Look(i) for i, label in enumerate(pairs)}
    case = {same: pair.case for of_side in pairs.values() for same, pair in of_side.items()}
    ordered = sorted(marks.items(), key=lambda item: -max(each.estimate for each in item[1].values()))
    shown = {int(i) for i in spread([str(i) for i in range(len(ordered))], panels.MOST_ROWS)}
    data = [
        Row(
            case[same],
            " / ".join(_factor(each.estimate) for each in found.values()),
            tuple(Mark(each.estimate, each.low, each.high, looks[label]) for label, each in found.items()),
        )
        for i, (same, found) in enumerate(ordered)
        if i in shown
    ]
    which = f"times as fast as {base.label}"
    title = f"{next(iter(pairs))}, {which}" if len(pairs) == 1 else f"Devices, {which}"
    legend = tuple(pairs) if len(pairs) > 1 else ()
    scale = Scale("ratio of latencies, above 1 the other device is faster", "factor", log=True, line=1.0)
    return rows("devices-chart", title, scale, data, legend=legend)


def _table(
    every: Sequence[Side],
    against: Sequence[Side],
    names: Mapping[Same, str],
    pairs: Mapping[str, Mapping[Same, Pair]],
) -> Markup:
    """Returns a row per case: what it takes on each device, and the ratios."""
    base = every[0]
    columns = [Column("case")]
    for side in against:
        head = f"{side.short}, times as fast as {base.short}"
        columns += [Column(head, number=True), Column("95\u00a0% interval", number=True)]
    for title in ("latency", "throughput"):
        columns += [Column(f"{title}, {side.short}", number=True, hint=side.label) for side in every]
    body = []
    for same, name in names.items():
        cells = [name]
        for side in against:
            pair = pairs[side.label].get(same)
            found = pair.faster if pair else None
            cells += [_factor(found.estimate), _reach(found)] if found else [units.UNKNOWN] * 2
        for metric in ("latency", "throughput"):
            cells += [_figure(side.entries.get(same), metric) for side in every]
        body.append(cells)
    return blocks.table(Table(columns, body, "The same cases on each device"))


def _figure(entry: Entry | None, metric: str) -> str:
    """Returns a figure of a case, how it ended where it did not end well."""
    if entry is None:
        return units.UNKNOWN
    return naming.value(entry.figure(metric)) if entry.ok else naming.STATUSES[entry.result.status]


def _facts(runs: Sequence[RunResults]) -> Markup | str:
    """Returns the comparable facts that differ between the runs, nothing where none does."""
    facts = [found.run.environment.comparable for found in runs]
    names = dict.fromkeys(name for some in facts for name in some)
    body = [
        [fact_name(name), *(fact(name, some.get(name)) for some in facts)]
        for name in names
        if len({repr(some.get(name)) for some in facts}) > 1
    ]
    if not body:
        return ""
    table = Table([Column("fact"), *map(Column, view.run_names(runs))], body, "Facts that differ")
    return blocks.table(table)
