"""Quality of cost: which cases no other one beats in throughput and in what each token gets for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import layers, units
from bench.report import blocks, findings, fronts, naming, panels, scatter, view
from bench.report.blocks import Column, Table
from bench.report.charts import Mark
from bench.report.fronts import Front, Offer
from bench.report.scatter import Key, Line, Plane, Point
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup

    from bench.report.charts import Chart, Look
    from bench.report.view import Entry
    from bench.results import RunResults

FEWEST = 3
"""Fewest comparable cases that make a front."""

MOST_WORKLOADS = 3
MOST_NAMED = 9
"""Members that the legend names; the table has all."""

INTERVALS = "the 95\u00a0% intervals of the ratios within rounds leave"
MEANING = (
    "Throughput is what a layer costs; parameters to draw on (capacity) and useful FLOPs per token are what that buys. "
    "At the same throughput more of either is better: a case is on the front unless another one of its run and "
    "workload has at least as much of both and more of one. Parameters also take memory, and neither is quality "
    "itself, which only training tells. Amounts within 1\u00a0% count as equal."
)


@dataclass(frozen=True)
class Amount:
    """What throughput is traded for: an id, its name alone and after a figure, its unit, and how much a case has."""

    id: str
    noun: str
    after: str
    unit: str
    of: Callable[[Entry], float | None]


@dataclass(frozen=True)
class Found:
    """One front with its chart."""

    amount: Amount
    front: Front
    chart: Chart


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns the fronts of each workload, or None where fewer than three cases compare."""
    seen = view.of(runs)
    looks = panels.looks(seen)
    groups: dict[tuple[int, str], list[Entry]] = {}
    for entry in seen.timed():
        if not findings.is_wrong(entry) and not findings.is_peer(entry) and entry.value("throughput"):
            groups.setdefault((entry.number, entry.workload), []).append(entry)
    large = [group for group in groups.values() if len(group) >= FEWEST]
    chosen = [large[int(i)] for i in view.spread([str(i) for i in range(len(large))], MOST_WORKLOADS)]
    told = [(group, found) for i, group in enumerate(chosen) if (found := _fronts(group, looks, i))]
    if not told:
        return None
    parts = [blocks.paragraph(MEANING)]
    for group, found in told:
        title = ", ".join(filter(None, (group[0].workload, group[0].run_name)))
        if title:
            parts.append(blocks.heading(f"{title[:1].upper()}{title[1:]}"))
        parts.append(blocks.items(sentence for one in found for sentence in _sentences(one)))
        parts.append(blocks.gallery(one.chart for one in found))
    if len(large) > len(chosen):
        left = f"{len(chosen)} of {len(large)} workloads are drawn. The table of all figures has every case."
        parts.append(blocks.paragraph(left, "soft"))
    parts.append(_table([one for _, found in told for one in found]))
    return Section("pareto", "Quality of cost", blocks.merge(parts))


def parameters(entry: Entry) -> float | None:
    """Returns the trainable values of a case as counted in its process, else by its formula."""
    counted = entry.value("parameters")
    cost = layers.cost(entry.case) if counted is None else None
    return counted if cost is None else float(cost.parameters)


def flops_per_token(entry: Entry) -> float | None:
    """Returns the useful FLOPs of a call over its tokens, which is the ratio of both rates."""
    rate, throughput = entry.value("flops_per_s"), entry.value("throughput")
    return rate / throughput if rate and throughput else None


AMOUNTS = (
    Amount("parameters", "parameters", " parameters", "count", parameters),
    Amount("flops", "useful FLOPs per token", " per token", "FLOP", flops_per_token),
)


def _fronts(group: Sequence[Entry], looks: dict[str, Look], number: int) -> list[Found]:
    """Returns the fronts of one workload: only where the amounts of three cases are known, and differ."""
    found = []
    for amount in AMOUNTS:
        offers = [
            Offer(entry, much, speed)
            for entry in group
            if (much := amount.of(entry)) and (speed := entry.value("throughput"))
        ]
        if len(offers) < FEWEST or max(o.amount for o in offers) <= min(o.amount for o in offers) * (1 + fronts.SAME):
            continue
        front = fronts.of(offers)
        without = len(group) - len(offers)
        found.append(Found(amount, front, _chart(f"pareto-{number}-{amount.id}", amount, front, looks, without)))
    return found


def _chart(chart: str, amount: Amount, front: Front, looks: dict[str, Look], without: int) -> Chart:
    """Returns the chart of one front: its members numbered and solid, the others as outlines."""
    points, keys = [], []
    for number, offer in enumerate(front.members, 1):
        points.append(Point(offer.amount, _mark(offer, looks), number))
        if number <= MOST_NAMED:
            keys.append(Key(looks[offer.entry.series], f"{number}  {offer.entry.short}"))
    points += [Point(offer.amount, _mark(offer, looks), faint=True) for offer in front.beaten]
    shown = {offer.entry.series for offer in front.members[:MOST_NAMED]}
    others = {offer.entry.series: offer.entry.kind for offer in (*front.members, *front.beaten)}
    keys += [Key(looks[series], kind, faint=True) for series, kind in others.items() if series not in shown]
    first = front.members[0].entry
    title = f"Throughput against {amount.noun}"
    plane = Plane((f"{amount.noun}, more is better", amount.unit), ("throughput, higher is better", "token/s"))
    words = [f"{o.entry.short} {units.format_value(o.speed, 'token/s')} at {_much(o, amount)}" for o in front.members]
    left = len(front.members) - MOST_NAMED
    note = "Solid and numbered: on the front, the line. Outlines: beaten."
    if without:
        note += f" Not drawn: {naming.count(without, 'case')} with unknown {amount.noun}."
    if left > 0:
        note += f" The table names the {naming.count(left, 'member')} that the legend has no room for."
    return scatter.scatter(
        chart,
        ", ".join(filter(None, (title, first.workload, first.run_name))),
        plane,
        points,
        [Line(front.corners)],
        keys,
        f"{title} of {naming.count(len(points), 'case')}, both axes logarithmic. On the front, fastest first: "
        f"{'; '.join(words)}. {naming.count(len(front.beaten), 'case')} below it.",
        note,
    )


def _mark(offer: Offer, looks: dict[str, Look]) -> Mark:
    """Returns the throughput of a case with its interval."""
    found = offer.entry.result.figures["throughput"].interval
    return Mark(found.estimate, found.low, found.high, looks[offer.entry.series])


def _much(offer: Offer, amount: Amount) -> str:
    """Returns how much a case gives, in words."""
    return f"{units.format_value(offer.amount, amount.unit)}{amount.after}"


def _sentences(found: Found) -> list[str]:
    """Returns who is on a front, and who of them and of the others may be on the wrong side of it."""
    front, noun = found.front, found.amount.noun
    total = len(front.members) + len(front.beaten)
    names = naming.join([f"{offer.entry.short} ({i})" for i, offer in enumerate(front.members, 1)], MOST_NAMED)
    if len(front.members) == 1:
        said = f"By {noun}, {front.members[0].entry.short} beats all others: none has more, and none is faster."
    else:
        said = f"By {noun}, {len(front.members)} of {total} cases are on the front, fastest first: {names}."
    return [f"{said} {_care(front)}"]


def _care(front: Front) -> str:
    """Returns how far the front may be believed."""
    off = [str(i) for i, offer in enumerate(front.members, 1) if offer in front.doubtful]
    on = [offer.entry.short for offer in front.near]
    if not off and not on:
        return "No interval reaches across it: every case is surely on its side."
    if off and len(front.members) - len(off) <= 1 and len(on) == len(front.beaten):
        sure = [i for i, offer in enumerate(front.members, 1) if offer not in front.doubtful]
        certain = f"Only {sure[0]} is certain to be on it" if sure else "Nothing of this is certain"
        return f"{certain}: {INTERVALS} all else open."
    parts = []
    if off:
        parts.append(f"{naming.join(off)} may be off it")
    if on:
        parts.append(f"{naming.join(on)} may be on it")
    return f"Not certain: {'; '.join(parts)}, as {INTERVALS} it open."


def _table(found: Sequence[Found]) -> Markup:
    """Returns a row for each case that is on a front."""
    members: dict[str, tuple[Entry, list[str]]] = {}
    for one in found:
        for offer in one.front.members:
            sure = "" if offer not in one.front.doubtful else ", not certain"
            members.setdefault(offer.entry.anchor, (offer.entry, []))[1].append(f"{one.amount.noun}{sure}")
    columns = [
        Column("case"),
        Column("on the front by"),
        Column("throughput", number=True),
        Column("95 % interval", number=True, hint="of the throughput, over processes"),
        Column("parameters", number=True),
        Column("useful FLOPs per token", number=True),
        Column("weights in memory", number=True),
    ]
    rows = []
    for entry, by in members.values():
        throughput = entry.figure("throughput")
        rows.append(
            [
                entry.full,
                "; ".join(by),
                naming.value(throughput),
                naming.interval(throughput.interval if throughput else None, "token/s"),
                units.format_value(parameters(entry), "count"),
                units.format_value(flops_per_token(entry), "FLOP"),
                naming.value(entry.figure("parameter_memory")),
            ]
        )
    return blocks.table(Table(columns, rows, "Members of the fronts"))
