"""How much arithmetic a call is, counted three ways, and how fast it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import layers
from bench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.axes import AxisValue

    Axes = Mapping[str, AxisValue]
    Observed = Mapping[str, tuple[float, ...]]


def _known(value: float | None) -> tuple[float, ...]:
    """Returns one sample, or none where the figure is unknown."""
    return () if value is None else (float(value),)


def _flops(axes: Axes, _observed: Observed) -> tuple[float, ...]:
    """Returns the formula's useful FLOPs."""
    cost = layers.cost(axes)
    return () if cost is None else _known(cost.useful_flops)


def _flops_executed(axes: Axes, _observed: Observed) -> tuple[float, ...]:
    """Returns the formula's FLOPs of this backend, padding and one-hot products included."""
    cost = layers.cost(axes)
    return () if cost is None else _known(cost.executed_flops)


def _useful_share(axes: Axes, _observed: Observed) -> tuple[float, ...]:
    """Returns useful FLOPs over executed ones; nothing where a backend computes once what the formula counts twice."""
    cost = layers.cost(axes)
    if cost is None or cost.useful_flops is None or not cost.executed_flops:
        return ()
    return (cost.useful_flops / cost.executed_flops,) if cost.useful_flops <= cost.executed_flops else ()


def _flops_per_s(axes: Axes, observed: Observed) -> tuple[float, ...]:
    """Returns useful FLOPs over latency."""
    times = [seconds for seconds in observed.get("latency", ()) if seconds > 0]
    return tuple(flops / seconds for flops in _flops(axes, observed) for seconds in times)


def _intensity(axes: Axes, _observed: Observed) -> tuple[float, ...]:
    """Returns useful FLOPs over the fewest bytes that must move."""
    cost = layers.cost(axes)
    if cost is None or cost.useful_flops is None or not cost.min_bytes:
        return ()
    return (cost.useful_flops / cost.min_bytes,)


FAMILY = (
    Metric("parameters", "count", "Parameters", None, "Number of trainable values."),
    Metric("flops", "FLOP", "FLOPs", "lower", "Useful work of one call by the formula, 2 per multiply-add.", _flops),
    Metric(
        "flops_executed",
        "FLOP",
        "FLOPs executed",
        "lower",
        "The formula with what this backend adds: padding, one-hot dispatch. Unknown where it depends on the tokens.",
        _flops_executed,
    ),
    Metric(
        "useful_share",
        "ratio",
        "Useful share",
        "higher",
        "Useful FLOPs over executed ones: the rest is padding, one-hot products and what is computed again.",
        _useful_share,
    ),
    Metric("flops_torch", "FLOP", "FLOPs (torch)", "lower", "Counted by torch.utils.flop_counter during one call."),
    Metric("flops_fvcore", "FLOP", "FLOPs (fvcore)", "lower", "Counted by fvcore, doubled: it counts multiply-adds."),
    Metric(
        "flops_per_s",
        "FLOP/s",
        "Arithmetic rate",
        "higher",
        "Useful FLOPs over latency.",
        _flops_per_s,
        needs=("latency",),
    ),
    Metric(
        "arithmetic_intensity",
        "FLOP/B",
        "Arithmetic intensity",
        None,
        "Useful FLOPs over the fewest bytes that must move, each operand once.",
        _intensity,
    ),
)
