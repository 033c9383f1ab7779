"""How much energy a call takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.axes import AxisValue

    Axes = Mapping[str, AxisValue]
    Observed = Mapping[str, tuple[float, ...]]


def _per_token(axes: Axes, observed: Observed) -> tuple[float, ...]:
    """Returns joules per token of the batch."""
    tokens = int(axes["batch_size"] or 0) * int(axes["seq_len"] or 0)
    return tuple(joules / tokens for joules in observed.get("energy", ()) if tokens)


def _power(_axes: Axes, observed: Observed) -> tuple[float, ...]:
    """Returns watts over each window."""
    windows = zip(observed.get("energy", ()), observed.get("energy_time", ()), strict=False)
    return tuple(joules / seconds for joules, seconds in windows if seconds > 0)


FAMILY = (
    Metric(
        "energy",
        "J",
        "Energy",
        "lower",
        "Energy of one call, idle power included: of the whole GPU, or of all processor packages.",
    ),
    Metric(
        "energy_per_token",
        "J/token",
        "Energy per token",
        "lower",
        "Energy over tokens of the batch.",
        _per_token,
        needs=("energy",),
    ),
    Metric(
        "energy_time",
        "s",
        "Time per call (energy)",
        None,
        "Time of one call while its energy was counted, calls back to back.",
    ),
    Metric(
        "power",
        "W",
        "Power",
        None,
        "Energy over the time in which it was counted, idle power included.",
        _power,
        needs=("energy", "energy_time"),
    ),
)
