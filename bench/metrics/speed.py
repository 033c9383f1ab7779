"""How long a call takes, and how much it gets done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics.metric import Metric
from bench.stats import over

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.axes import AxisValue


def _throughput(axes: Mapping[str, AxisValue], observed: Mapping[str, tuple[float, ...]]) -> tuple[float, ...]:
    """Returns tokens per second."""
    tokens = int(axes["batch_size"] or 0) * int(axes["seq_len"] or 0)
    return tuple(tokens / seconds for seconds in observed.get("latency", ()) if seconds > 0)


def _relative(_axes: Mapping[str, AxisValue], observed: Mapping[str, tuple[float, ...]]) -> tuple[float, ...]:
    """Returns each sample over the reference sample taken right after it."""
    return over(observed.get("latency", ()), observed.get("reference_latency", ()))


FAMILY = (
    Metric("latency", "s", "Latency", "lower", "Time of one call of the layer on the whole batch."),
    Metric(
        "throughput",
        "token/s",
        "Throughput",
        "higher",
        "Tokens of the batch over latency.",
        _throughput,
        needs=("latency",),
    ),
    Metric(
        "wall_latency",
        "s",
        "Wall-clock latency",
        "lower",
        "The same on the host's clock, launches included (GPU only: on a CPU it is the latency).",
    ),
    Metric(
        "compile_time",
        "s",
        "Compile time",
        "lower",
        "What the first call of launch=compile takes longer than the next, with empty caches.",
    ),
    Metric(
        "reference_latency",
        "s",
        "Reference latency",
        None,
        "Time of one call of a fixed kernel, interleaved with the samples: it moves with the machine, not the layer.",
    ),
    Metric("base_latency", "s", "Latency of the base", None, "The same of the other side of a duel, block by block."),
    Metric(
        "relative_latency",
        "factor",
        "Latency over reference",
        "lower",
        "Latency over the reference latency taken right after it; stored runs are compared by it.",
        _relative,
        needs=("latency", "reference_latency"),
    ),
)
