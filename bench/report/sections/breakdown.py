"""Where the time goes: a forward pass in its phases."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bench import layers, metrics
from bench.metrics.breakdown import PHASES, WHOLE
from bench.report import blocks, naming, panels, view
from bench.report.blocks import Column, Table
from bench.report.charts import Look, Mark, Row, Scale
from bench.report.section import Section
from bench.units import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from bench.report.view import Entry
    from bench.results import RunResults

FAR = 1.3
"""Profiled over timed call from which on, either way, the shares of the one only indicate those of the other."""

FOLD_FROM = 40
MOST_KINDS = 8
MOST_SHARES = 3

LOOKS = dict(zip(PHASES, (Look(7), Look(5), Look(0), Look(1), Look(2), Look(4), Look(6)), strict=True))
HATCHED = frozenset(PHASES[1::2])
"""Every other phase, so that neighbours differ without colour."""

TOGETHER = (
    ("attention_time",),
    ("dense_time",),
    ("router_time",),
    ("dispatch_time", "combine_time"),
    ("experts_time",),
    ("other_time",),
)
"""Phases that are spoken of as one: both are what routing costs beside deciding."""


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns the shares of each phase per case, or None where no case has any."""
    seen = view.of(runs)
    known = seen.with_figure(WHOLE)
    if not known:
        return None
    layers_alone = [entry for entry in known if "variant" not in entry.case]
    models = [entry for entry in known if "variant" in entry.case]
    drawn = [
        panels.draw(seen, entries, _picture(prefix, entries))
        for prefix, entries in (("breakdown", layers_alone), ("breakdown-model", models))
        if entries
    ]
    return Section(
        "breakdown",
        "Where the time goes",
        blocks.merge(
            [
                blocks.paragraph(
                    "A forward pass in phases: the router decides, dispatch brings tokens to the experts, the experts "
                    "compute, combine brings their outputs back; other is the rest: checks, conversions, and watching. "
                    "They were timed in a pass of its own; the figure at the right is the latency, timed undisturbed."
                ),
                blocks.items(_sentences(known)),
                blocks.gallery(chart for panel in drawn for chart in panel.charts),
                *(blocks.paragraph(panel.left_out, "soft") for panel in drawn if panel.left_out),
                blocks.paragraph(" ".join(filter(None, (_profiled(known), _backward(known))))),
                blocks.paragraph(" ".join(filter(None, (_missing(known), _inside(known), _unsplit(seen.timed()))))),
                _table(known),
            ]
        ),
    )


def share(entry: Entry, *names: str) -> float | None:
    """Returns the share of some phases in a profiled call, None where none of them is known."""
    whole, values = entry.value(WHOLE), [entry.value(name) for name in names]
    found = [value for value in values if value is not None]
    return sum(found) / whole if found and whole else None


def _picture(prefix: str, entries: Sequence[Entry]) -> panels.Picture:
    """Returns how the phases that any of the cases has are drawn, fastest case first."""
    names = [name for name in PHASES if any(entry.figure(name) for entry in entries)]

    def row(entry: Entry) -> Row:
        marks = (Mark(share(entry, n) or 0.0, look=LOOKS[n], hatched=n in HATCHED) for n in names)
        return Row(entry.name, naming.value(entry.figure("latency")), tuple(marks))

    return panels.Picture(
        prefix,
        "Time by phase",
        Scale("share of a forward pass", "ratio"),
        row,
        legend=tuple(_word(name) for name in names),
        stacked=True,
        rank=lambda entry: entry.value("latency") or entry.value(WHOLE) or 0.0,
    )


def _sentences(known: Sequence[Entry]) -> list[str]:
    """Returns the largest shares of each kind of layer, in words."""
    kinds: dict[str, list[Entry]] = {}
    for entry in known:
        kinds.setdefault(entry.series, []).append(entry)
    lines = [f"{kind}: {_largest(entries)}." for kind, entries in list(kinds.items())[:MOST_KINDS]]
    if len(kinds) > MOST_KINDS:
        lines.append(f"{naming.count(len(kinds) - MOST_KINDS, 'further kind')} of layer: see the table.")
    return lines


def _largest(entries: Sequence[Entry]) -> str:
    """Returns the largest shares over the cases of a kind: `experts take 61 to 83 % of a forward pass, router 12 %`."""
    found = []
    for names in TOGETHER:
        shares = [value for entry in entries if (value := share(entry, *names)) is not None]
        there = [name for name in names if any(entry.figure(name) for entry in entries)]
        if shares:
            found.append((sum(shares) / len(entries), " and ".join(_word(name) for name in there), shares))
    found.sort(key=lambda one: -one[0])
    (_, first, shares), *others = found[:MOST_SHARES]
    rest = "".join(f", {words} {_span(values)}" for _, words, values in others)
    take = "take" if first.endswith("s") or " and " in first else "takes"
    return f"{first} {take} {_span(shares)} of a forward pass{rest}"


def _span(shares: Sequence[float]) -> str:
    """Returns the smallest and the largest of some shares in whole per cent."""
    low, high = (round(100 * value) for value in (min(shares), max(shares)))
    return f"{low} to {high} %" if low < high else f"{high} %" if high else "under 1 %"


def _percent(value: float | None) -> str:
    """Returns a share to a tenth of a per cent, a dash where it is unknown."""
    return UNKNOWN if value is None else f"{100 * value:.1f} %" if value >= 0.0005 else "<0.1 %"


def _word(name: str) -> str:
    """Returns what a phase is called within a sentence."""
    return metrics.TABLE[name].title.lower()


def _ratio(entry: Entry) -> float | None:
    """Returns profiled over timed call, None where they are not the same: a latency with a backward pass in it."""
    whole, latency = entry.value(WHOLE), entry.value("latency")
    return whole / latency if whole and latency and entry.case["mode"] == "forward" else None


def _profiled(known: Sequence[Entry]) -> str:
    """Returns how far the profiled calls are from the timed ones."""
    ratios = [ratio for entry in known if (ratio := _ratio(entry)) is not None]
    if not ratios:
        return ""
    low, high = naming.ratio(min(ratios)), naming.ratio(max(ratios))
    took = f"A profiled call took {low}" + (f" to {high}" if low != high else "") + " times as long as a timed one."
    far = sum(not 1 / FAR <= ratio <= FAR for ratio in ratios)
    apart = (
        f"In {naming.count(far, 'case')} of {len(ratios)} the two are more than {FAR} times apart: there shares only"
    )
    return f"{took} {apart} indicate; the table has each." if far else took


def _backward(known: Sequence[Entry]) -> str:
    """Returns what is not split of a call with a backward pass."""
    if all(entry.case["mode"] == "forward" for entry in known):
        return ""
    return "Of calls with a backward pass the forward pass alone is split, the latency is of the whole."


def _missing(known: Sequence[Entry]) -> str:
    """Returns which layers do without a phase, or do its work in another one."""
    kinds: dict[tuple[str, ...], dict[str, None]] = {}
    for entry in known:
        lacking = tuple(_word(n) for n in ("router_time", "dispatch_time", "combine_time") if not entry.figure(n))
        if lacking and "experts_time" in entry.result.figures:
            kinds.setdefault(lacking, {})[entry.kind] = None
    words = [f"no {' and no '.join(phases)} in {naming.join(list(names))}" for phases, names in kinds.items()]
    return f"Where a phase computes nothing itself it is not there: {'; '.join(words)}." if words else ""


def _inside(known: Sequence[Entry]) -> str:
    """Returns which layers compute their logits elsewhere than in the router."""
    kinds: dict[str, None] = {}
    for entry in known:
        if entry.case.get("backend") == "sdpa":
            kinds[entry.kind] = None
        elif entry.case.get("memory") == "low":
            kinds[f"{entry.kind} of low memory"] = None
    return f"Dispatch and combine include the router's logits in {naming.join(list(kinds))}." if kinds else ""


def _unsplit(timed: Sequence[Entry]) -> str:
    """Returns how many timed cases are not split, and why."""
    reasons = Counter(_why(entry) for entry in timed if not entry.figure(WHOLE))
    words = [f"{naming.count(number, 'case')} {reason}" for reason, number in reasons.items()]
    return f"Not split: {'; '.join(words)}." if words else ""


def _why(entry: Entry) -> str:
    """Returns why the phases of a case are unknown."""
    case = entry.case
    if case["layer"] in layers.DENSE:
        return "of a dense layer, which is one phase"
    if layers.known(case) is None or layers.package(case["layer"]) is not None:
        return "of layers that are not ours, whose phases are not known"
    if case["launch"] != "eager" or case.get("backend") == "compile":
        return "compiled or captured as one piece"
    return "of a run that looked at no phases"


def _table(known: Sequence[Entry]) -> Markup:
    """Returns every share, and the profiled call that they are of."""
    names = [name for name in PHASES if any(entry.figure(name) for entry in known)]
    titles = [metrics.TABLE[name].title for name in (*names, WHOLE)]
    hints = [metrics.TABLE[name].text for name in (*names, WHOLE)]
    columns = [
        Column("case"),
        *(Column(title, number=True, hint=hint) for title, hint in zip(titles, hints, strict=True)),
        Column("profiled / timed", number=True),
    ]
    rows = []
    for entry in known:
        ratio = _ratio(entry)
        rows.append(
            [
                entry.full,
                *(_percent(share(entry, name)) for name in names),
                naming.value(entry.figure(WHOLE)),
                UNKNOWN if ratio is None else naming.ratio(ratio),
            ]
        )
    table = blocks.table(Table(columns, rows, "Shares of a profiled call"))
    return blocks.details(f"Shares of {len(rows)} cases", table) if len(rows) >= FOLD_FROM else table
