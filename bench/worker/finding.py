"""What one pass over a subject brings back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.records import Flag, Observation


@dataclass(frozen=True)
class Finding:
    """Observations, caveats and facts of one pass."""

    observations: tuple[Observation, ...] = ()
    flags: tuple[Flag, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def one(metric: str, unit: str, value: float | None) -> tuple[Observation, ...]:
    """Returns a single observation, or none where the figure is unknown."""
    return () if value is None else (Observation(metric, unit, (float(value),)),)
