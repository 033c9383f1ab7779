"""How close the output is to the float64 oracle."""

from __future__ import annotations

from bench.metrics.metric import Metric

FAMILY = (
    Metric(
        "max_abs_error",
        "abs",
        "Largest error",
        "lower",
        "Largest absolute difference to the float64 oracle, over tokens that both send to the same experts.",
    ),
    Metric(
        "routing_agreement",
        "ratio",
        "Routing agreement",
        "higher",
        "Tokens that layer and oracle send to the same experts over all tokens.",
    ),
)
