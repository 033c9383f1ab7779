"""The metrics, in the order of the report: one file per family, one line here."""

from __future__ import annotations

from bench.metrics import accuracy, breakdown, efficiency, energy, memory, roofline, routing, speed
from bench.metrics.metric import Metric

TABLE: dict[str, Metric] = {
    metric.name: metric
    for family in (
        speed.FAMILY,
        memory.FAMILY,
        breakdown.FAMILY,
        efficiency.FAMILY,
        roofline.FAMILY,
        energy.FAMILY,
        routing.FAMILY,
        accuracy.FAMILY,
    )
    for metric in family
}

__all__ = ["TABLE", "Metric"]
