"""The closed list of what makes a number less true: code, text, hint.

A worker raises those that it can see (`Flag`); those about samples and repeats are found on reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.counts import reconcile
from bench.records import Flag
from bench.stats import relative_spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.counts import Count

FEW_REPEATS = 3
"""Below this many processes an interval says next to nothing."""

NOISY_SPREAD = 0.10
"""Interquartile range over median at which torch.utils.benchmark, too, begins to warn."""

IMPRECISE = 0.05
"""Half the relative interval of one process' median above which its figure is rough."""

DISAGREEMENT = 0.001
"""Counts of the same FLOPs may differ by this share before it is called a disagreement."""


DISTURBED = ("loaded", "other_gpu_processes")
"""Caveats of a process whose time is not only its own doing."""


@dataclass(frozen=True)
class Caveat:
    """One reason to trust a number less: a short title, what it means, what to do about it."""

    code: str
    title: str
    text: str
    hint: str


TABLE: dict[str, Caveat] = {
    caveat.code: caveat
    for caveat in (
        Caveat(
            "noisy",
            "noisy",
            f"Samples of one process spread by more than {NOISY_SPREAD:.0%} of their median (interquartile range).",
            "Close other programs, or raise --max-seconds.",
        ),
        Caveat(
            "processes_differ",
            "processes differ",
            f"Medians of fresh processes lie more than {NOISY_SPREAD:.0%} apart around their centre (95 % interval).",
            "Raise --repeats; the interval beside the figure tells how far to trust it.",
        ),
        Caveat(
            "few_repeats",
            "few repeats",
            f"Fewer than {FEW_REPEATS} processes measured it, so no interval worth the name exists.",
            "Raise --repeats.",
        ),
        Caveat(
            "time_limit",
            "stopped by time",
            f"Sampling stopped at the time limit before a process knew its median to within {IMPRECISE:.0%}.",
            "Raise --max-seconds.",
        ),
        Caveat(
            "counters_disagree",
            "FLOP counters disagree",
            f"torch's counter differs by more than {DISAGREEMENT:.1%} from the formula, or from fvcore.",
            "Read the detail, which names the operators: for a layer of this package it is a defect worth a report.",
        ),
        Caveat(
            "counter_incomplete",
            "FLOP counter incomplete",
            "torch's counter or fvcore met operations that it cannot count, so its figure is left out.",
            "Use the formula or the other counter; the detail names the operations.",
        ),
        Caveat(
            "routing_differs",
            "routing differs from the oracle",
            "Some tokens went to other experts than in the float64 oracle (near ties); the error is over the others.",
            "Expected with bfloat16 and float16; in float32 more than 1 % of the tokens is worth a look.",
        ),
        Caveat(
            "inaccurate",
            "inaccurate",
            "The output is further from the float64 oracle than this number format explains.",
            "A wrong layer is not a fast layer: check it before you use its speed.",
        ),
        Caveat(
            "no_oracle",
            "not checked",
            "No float64 oracle exists for this layer, so nothing vouches for its output.",
            "Test it against a reference of your own.",
        ),
        Caveat(
            "memory_unknown",
            "memory unknown",
            "This system does not let a process reset its high-water mark.",
            "Measure memory on Linux with /proc.",
        ),
        Caveat(
            "loaded",
            "machine was busy",
            "Other programs used the processor when the case was measured.",
            "Close them, or read only ratios within one run.",
        ),
        Caveat(
            "other_gpu_processes",
            "other processes on the GPU",
            "Another process held the GPU when the case was measured.",
            "Use a GPU of your own.",
        ),
    )
}


def of_samples(samples: Sequence[float]) -> list[Flag]:
    """Returns what the samples of one process say about themselves."""
    spread = relative_spread(samples)
    if spread is not None and spread > NOISY_SPREAD:
        return [Flag("noisy", f"spread {spread:.0%}")]
    return []


def of_repeats(half_width: float | None, replicates: int) -> list[Flag]:
    """Returns what the figures of several processes say about each other."""
    if replicates < FEW_REPEATS:
        return [Flag("few_repeats", f"{replicates} of at least {FEW_REPEATS}")]
    if half_width is not None and half_width > NOISY_SPREAD:
        return [Flag("processes_differ", f"±{half_width:.0%}")]
    return []


def of_counts(formula: float | None, torch: Count, fvcore: Count) -> list[Flag]:
    """Returns whether counts of the same FLOPs disagree, and in which operators."""
    found = reconcile(formula, torch, fvcore, tolerance=DISAGREEMENT)
    return [Flag("counters_disagree", found.words)] if found.differences else []
