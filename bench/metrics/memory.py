"""How much memory a call needs."""

from __future__ import annotations

from bench.metrics.metric import Metric

FAMILY = (
    Metric("peak_memory", "B", "Peak memory", "lower", "Most bytes during one call, weights and tokens included."),
    Metric(
        "activation_memory", "B", "Activation memory", "lower", "Most bytes that a call adds to weights and tokens."
    ),
    Metric("parameter_memory", "B", "Parameter memory", "lower", "Bytes of the layer's parameters."),
    Metric("optimizer_memory", "B", "Optimizer memory", "lower", "Bytes of the optimizer's state after a step."),
    Metric(
        "saved_memory",
        "B",
        "Saved memory",
        "lower",
        "Bytes that one forward call saves for the backward pass, beside weights and tokens.",
    ),
    Metric(
        "reserved_memory",
        "B",
        "Reserved memory",
        "lower",
        "Most bytes that torch's allocator took from the device, in use or not.",
    ),
    Metric(
        "fragmentation",
        "ratio",
        "Fragmentation",
        "lower",
        "Bytes that the allocator held beyond those in use, both at their peak, over those that it held.",
    ),
)
