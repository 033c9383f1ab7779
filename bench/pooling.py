"""One figure out of several that are not equally sure: pairs of processes, some of which something disturbed.

Each pair brings its own standard error. Pairs also differ by more than that, from process to process, and how much is
estimated from them: a disturbed pair then counts for little, and pairs that agree count alike. Sources: R. C. Paule and
J. Mandel, J. Res. Natl. Bur. Stand. 87, 1982 (spread between); J. Hartung and G. Knapp, Stat. Med. 20, 2001 (Student's
t for the pooled figure), with the bound of C. Roever, G. Knapp and T. Friede, BMC Med. Res. Methodol. 15, 2015: never
surer than the pairs themselves allow, however well a few of them happen to agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

STEPS = 60
"""Halvings of the spread between: more digits than a float has."""


@dataclass(frozen=True)
class Pooled:
    """The pooled figure, its standard error with `degrees` of freedom, and the spread of a further typical figure."""

    centre: float
    error: float
    degrees: int
    spread: float


def pool(figures: Sequence[float], errors: Sequence[float]) -> Pooled:
    """Returns what at least two figures with their own standard errors amount to.

    An error of 0 is not known: rounds that a coarse clock made equal are not certain. It counts as the largest known.

    Raises:
        ValueError: fewer than two figures, or not an error for each.
    """
    count = len(figures)
    if count < 2 or len(errors) != count:
        raise ValueError(f"pooling needs two figures or more and an error for each, got {count} and {len(errors)}")
    known = any(errors)
    errors = [error or max(errors) for error in errors]
    between = _between(figures, errors)
    weights = _weights(errors, between)
    total = math.fsum(weights)
    centre = math.fsum(w * x for w, x in zip(weights, figures, strict=True)) / total
    scatter = math.fsum(w * (x - centre) ** 2 for w, x in zip(weights, figures, strict=True)) / (count - 1)
    variance = (max(1.0, scatter) if known else scatter) / total
    return Pooled(centre, math.sqrt(variance), count - 1, math.sqrt(variance * count))


def _between(figures: Sequence[float], errors: Sequence[float]) -> float:
    """Returns the variance between figures beyond their own errors: where their scatter is what it should be."""
    mean = math.fsum(figures) / len(figures)
    high = math.fsum((x - mean) ** 2 for x in figures) / (len(figures) - 1)
    if not any(errors) or high == 0:
        return high
    low = 0.0
    if _scatter(figures, errors, 0.0) <= len(figures) - 1:
        return 0.0
    high *= 2.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _scatter(figures, errors, middle) > len(figures) - 1 else (low, middle)
    return high


def _scatter(figures: Sequence[float], errors: Sequence[float], between: float) -> float:
    """Returns the weighted sum of squares about the weighted mean."""
    weights = _weights(errors, between)
    centre = math.fsum(w * x for w, x in zip(weights, figures, strict=True)) / math.fsum(weights)
    return math.fsum(w * (x - centre) ** 2 for w, x in zip(weights, figures, strict=True))


def _weights(errors: Sequence[float], between: float) -> list[float]:
    """Returns what each figure counts; all alike where nothing varies."""
    variances = [between + error**2 for error in errors]
    return [1 / v for v in variances] if min(variances) > 0 else [1.0] * len(errors)
