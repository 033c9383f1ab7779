"""How much memory a call needs."""

from __future__ import annotations

from bench.metrics.metric import Metric

FAMILY = (
    Metric("peak_memory", "B", "Peak memory", "lower", "Most bytes during one call, weights and tokens included."),
    Metric(
        "activation_memory", "B", "Activation memory", "lower", "Most bytes that a call adds to weights and tokens."
    ),
    Metric("parameter_memory", "B", "Parameter memory", "lower", "Bytes of the layer's parameters."),
)
