"""What is kept of a process beside its samples, so that thousands of cases are compared without reading those."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.records import Status
from bench.stats import over, precision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Outcome

METRICS = ("latency", "reference_latency")
"""What the medians are of."""

HALF_WIDTH = "relative_half_width"
"""The fact of a process whose samples are elsewhere that says `half_width`."""

TAKEN = "samples_taken"
"""The same of how many samples it took."""


class Medians(NamedTuple):
    """A process that timed a case: its median latency, and the median of its latency over the reference kernel.

    `half_width` is half the relative 95 % interval of the second, or where that is not known of the first; None, too,
    where it is not known. `samples` is how many samples it took. Whoever changes what any of this means brings the
    stores to a new form.
    """

    latency: float | None = None
    relative_latency: float | None = None
    half_width: float | None = None
    samples: int | None = None


def of_outcome(outcome: Outcome) -> Medians:
    """Returns the medians of a process that is known whole."""
    return of_process(outcome.status, {o.metric: o.samples for o in outcome.observations}, outcome.facts)


def of_process(status: Status, observed: Mapping[str, Sequence[float]], facts: Mapping[str, Any]) -> Medians:
    """Returns the medians of a process by its samples and facts, none for one that did not time a case."""
    latency = observed.get("latency", ())
    level = median(latency) if latency else 0.0
    if level <= 0:
        return Medians()
    relative = over(latency, observed.get("reference_latency", ())) if status is Status.OK else ()
    width = facts[HALF_WIDTH] if HALF_WIDTH in facts else precision(relative or latency)
    known = isinstance(width, float) and 0 < width < math.inf
    taken = facts.get(TAKEN)
    return Medians(
        level,
        median(relative) if relative else None,
        width if known else None,
        taken if isinstance(taken, int) else len(latency),
    )
