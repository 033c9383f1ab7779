"""Caveats that are found on reading: what samples, processes, counts and rates say about themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import units
from bench.counts import reconcile
from bench.records import Flag
from bench.stats import drift, relative_spread, serial_correlation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.counts import Count

FEW_REPEATS = 3
"""Below this many processes an interval says next to nothing."""

NOISY_SPREAD = 0.10
"""Interquartile range over median at which torch.utils.benchmark, too, begins to warn."""

MARKED_SHARE = 0.05
"""Share of a case's samples that were marked above which a reader may have to know."""

MARKED_SHIFT = 0.02
"""Share by which the figure without them must differ: marks that change nothing are no news."""

IMPRECISE = 0.05
"""Half the relative interval of one process' median above which its figure is rough."""

DRIFT = 0.05
"""Share by which the level of one process may move while it is sampled."""

CORRELATED = 0.5
"""Correlation of neighbouring samples above which a third of them, or less, would have told as much."""

DISAGREEMENT = 0.001
"""Counts of the same FLOPs may differ by this share before it is called a disagreement."""

TOLERATED = 1.05
"""Share of its ceiling above which a rate is not believed; clocks may run a little above the data sheet's."""


def of_samples(samples: Sequence[float]) -> list[Flag]:
    """Returns what the samples of one process say about themselves."""
    found: list[Flag] = []
    spread, moved, correlation = relative_spread(samples), drift(samples), serial_correlation(samples)
    if spread is not None and spread > NOISY_SPREAD:
        found.append(Flag("noisy", f"spread {spread:.0%}"))
    if moved is not None and abs(moved) > DRIFT:
        found.append(Flag("drifting", f"by {moved:+.0%}"))
    if correlation is not None and correlation > CORRELATED:
        found.append(Flag("correlated", f"correlation {correlation:.2f}"))
    return found


def of_repeats(half_width: float | None, replicates: int) -> list[Flag]:
    """Returns what the figures of several processes say about each other."""
    if replicates < FEW_REPEATS:
        return [Flag("few_repeats", f"{replicates} of at least {FEW_REPEATS}")]
    if half_width is not None and half_width > NOISY_SPREAD:
        return [Flag("processes_differ", f"±{half_width:.0%}")]
    return []


def of_marks(marks: Mapping[str, int], marked: int, total: int, seconds: float, without: float | None) -> list[Flag]:
    """Returns whether marked samples are more than a few and change the latency: how many by name, and it without them.

    A sample may have several marks, so the numbers by name may add up to more than the samples that are `marked`.
    """
    if total == 0 or marked / total <= MARKED_SHARE:
        return []
    if without is not None and abs(without / seconds - 1) <= MARKED_SHIFT:
        return []
    names = ", ".join(f"{name} {count}" for name, count in marks.items())
    shown = units.format_value(without, "s")
    rest = "too few are left to say what it is without them" if without is None else f"{shown} without them"
    return [Flag("marked_samples", f"{marked} of {total} samples ({names}); {rest}")]


def of_ceilings(shares: Mapping[str, float]) -> list[Flag]:
    """Returns whether a rate is more than its device can do; shares by the name of the ceiling."""
    above = [f"{share:.0%} of {name}" for name, share in shares.items() if share > TOLERATED]
    return [Flag("suspect", ", ".join(above))] if above else []


def of_counts(formula: float | None, torch: Count, fvcore: Count) -> list[Flag]:
    """Returns whether counts of the same FLOPs disagree, and in which operators."""
    found = reconcile(formula, torch, fvcore, tolerance=DISAGREEMENT)
    return [Flag("counters_disagree", found.words)] if found.differences else []
