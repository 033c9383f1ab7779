"""Where the tokens went."""

from __future__ import annotations

from bench.metrics.metric import Metric

FAMILY = (
    Metric("drop_rate", "ratio", "Drop rate", "lower", "Refused assignments over all assignments."),
    Metric("unrouted_rate", "ratio", "Unrouted rate", "lower", "Tokens that no expert processed over all tokens."),
    Metric("load_imbalance", "factor", "Load imbalance", "lower", "Most tokens of one expert over the mean."),
)
