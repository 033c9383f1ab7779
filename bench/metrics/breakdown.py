"""Where the time of a forward pass goes, from a pass in which each phase is watched: shares count, not seconds."""

from __future__ import annotations

from bench.metrics.metric import Metric

WHOLE = "profiled_time"
PHASES = (
    "attention_time",
    "dense_time",
    "router_time",
    "dispatch_time",
    "experts_time",
    "combine_time",
    "other_time",
)
"""What adds up to the whole, in the order of a call."""

FAMILY = (
    Metric(
        "profiled_time", "s", "Profiled call", None, "Time of one forward pass while watched: the sum of its phases."
    ),
    Metric("attention_time", "s", "Attention", None, "Time in a profiled call of a model's attention."),
    Metric("dense_time", "s", "Dense networks", None, "Time in a profiled call of a model's blocks without routing."),
    Metric("router_time", "s", "Router", None, "Time in a profiled call until it is decided which token goes where."),
    Metric("dispatch_time", "s", "Dispatch", None, "Time in a profiled call of bringing tokens to the experts' rows."),
    Metric("experts_time", "s", "Experts", None, "Time in a profiled call of the experts, shared ones included."),
    Metric("combine_time", "s", "Combine", None, "Time in a profiled call of bringing rows back to their tokens."),
    Metric("other_time", "s", "Other", None, "Time in a profiled call of everything else, watching it included."),
)
