"""What a comparison says: a verdict per case, what changed exactly, and what it comes to; whoever measured it.

Made by `bench.compare` from stored runs and by `bench.duel` from two sides measured in turn; read by everything that
prints, exports or decides an exit code.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.results import Figure
    from bench.stats import Interval

THRESHOLD = 0.05
"""Smallest relative change of latency worth a verdict, unless a grid or a user says otherwise."""


class Verdict(StrEnum):
    """What can be said of one case, worst first."""

    SLOWER = "slower"
    FAILED = "failed"
    MISSING = "missing"
    NOT_COMPARABLE = "not comparable"
    UNCLEAR = "unclear"
    FASTER = "faster"
    SAME = "same"
    NEW = "new"


RANKS = {verdict: rank for rank, verdict in enumerate(Verdict)}


@dataclass(frozen=True)
class Change:
    """A figure without noise that differs between the sides; `worse` when it grew by more than is allowed."""

    metric: str
    unit: str
    base: float
    candidate: float
    worse: bool

    @property
    def ratio(self) -> float | None:
        """Candidate / base, None where base is zero."""
        return self.candidate / self.base if self.base else None


@dataclass(frozen=True)
class Comparison:
    """One case on both sides; `ratio` is candidate / base, `raw` the same without the reference kernel.

    `detectable` is the smallest relative change that this much measuring would show in four of five attempts; `needed`
    is how many replicates a side would settle an unclear case at the spread seen, `seconds` what one replicate takes;
    each None where it is not known. `replicates` are those of the side that has fewer. `p` is the probability of such
    evidence of a change where none matters, by chance. The verdict is one on time: what else grew is in `changes`.
    """

    name: str
    case_id: str
    layer: str
    verdict: Verdict
    base: Figure | None = None
    candidate: Figure | None = None
    ratio: Interval | None = None
    raw: Interval | None = None
    reason: str = ""
    changes: tuple[Change, ...] = ()
    threshold: float = THRESHOLD
    replicates: int = 0
    detectable: float | None = None
    needed: int | None = None
    seconds: float | None = None
    p: float | None = None

    @property
    def compared(self) -> bool:
        """Whether both sides were measured."""
        return self.ratio is not None

    @property
    def worse_in(self) -> tuple[str, ...]:
        """The exact metrics that grew by more than is allowed."""
        return tuple(change.metric for change in self.changes if change.worse)


@dataclass(frozen=True)
class LayerSummary:
    """All compared cases of one layer: the geometric mean of their ratios, and the worst of them."""

    layer: str
    cases: int
    mean_ratio: float
    worst: Comparison


@dataclass(frozen=True)
class Comparisons:
    """All cases of two sides, worst first.

    `base` and `candidate` name the sides; `replicate` is the unit that intervals are taken over, process or pair;
    `method` says in one sentence how the ratio was found and what the verdicts mean; `remarks` are sentences that
    weaken the whole. `gate` holds the ids of the cases that are slower beyond doubt over the whole family.
    """

    base: str
    candidate: str
    threshold: float
    rows: tuple[Comparison, ...]
    replicate: str = "process"
    method: str = ""
    remarks: tuple[str, ...] = ()
    gate: frozenset[str] = frozenset()

    def count(self, verdict: Verdict) -> int:
        """Returns how many cases have a verdict."""
        return self.counts[verdict]

    @property
    def counts(self) -> Counter[Verdict]:
        """How many cases have each verdict."""
        return Counter(row.verdict for row in self.rows)

    @property
    def compared(self) -> int:
        """How many cases were measured on both sides."""
        return sum(row.compared for row in self.rows)

    @property
    def layers(self) -> tuple[LayerSummary, ...]:
        """A summary per layer that has a compared case, in the order of their worst case."""
        by_layer: dict[str, list[tuple[float, Comparison]]] = {}
        for row in self.rows:
            if row.ratio is not None:
                by_layer.setdefault(row.layer, []).append((row.ratio.estimate, row))
        found = [
            LayerSummary(
                layer,
                len(pairs),
                math.exp(fmean(math.log(ratio) for ratio, _ in pairs)),
                max(pairs, key=lambda pair: pair[0])[1],
            )
            for layer, pairs in by_layer.items()
        ]
        return tuple(sorted(found, key=lambda summary: -summary.worst.ratio.estimate if summary.worst.ratio else 0.0))


def severity(row: Comparison) -> tuple[int, int, float]:
    """Returns the place of a row in a table, worst first; what grew comes right after what is slower."""
    grew = -len(row.worse_in)
    rank = RANKS[row.verdict]
    return (min(rank, 1) if grew else rank), grew, -(row.ratio.estimate if row.ratio else 0.0)


def family(metric: str) -> str | None:
    """Returns the word by which people allow and refuse an exact metric: memory, flops or parameters, else None."""
    if metric.endswith("_memory"):
        return "memory"
    if metric == "flops" or metric.startswith("flops_"):
        return "flops"
    return "parameters" if metric in ("parameters", "parameter_count") else None
