"""How near a layer comes to what its device can do: by the data sheet, and by what was measured here.

MFU is model FLOPs utilisation (Chowdhery et al. 2022, PaLM, arXiv:2204.02311, appendix B): useful work over the time in
which the data sheet's dense peak would do it. A figure above its ceiling is not fast but wrong: `judge` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import caveats, layers, peaks
from bench.metrics.metric import Metric
from bench.records import Flag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.axes import AxisValue
    from bench.records import Ceiling, Environment

    Axes = Mapping[str, AxisValue]
    Observed = Mapping[str, tuple[float, ...]]

KNOWN = ("peak_flops_per_s", "peak_bandwidth", "ceiling_flops_per_s", "ceiling_bandwidth", "cache_bytes")
"""Names by which `derive` finds what is known of the machine among the samples: data sheet, then measured here."""


def known(axes: Axes, machine: Environment, measured: Sequence[Ceiling]) -> dict[str, tuple[float, ...]]:
    """Returns the ceilings that hold for a case on a machine, by the names in KNOWN; what is unknown is absent.

    A slice of a GPU has no data sheet. What was measured on a CPU holds for the threads it was measured with.
    """
    device = str(axes["device"])
    what = peaks.number_format(str(axes["dtype"]), device, machine.comparable)
    found: dict[str, float | None] = {}
    peak = peaks.of_machine(machine.comparable) if device == "cuda" and not _sliced(machine) else None
    if peak is not None:
        found |= {"peak_flops_per_s": peak.flops_per_s.get(what), "peak_bandwidth": peak.bandwidth}
    if axes.get("threads") in (None, machine.comparable.get("torch_threads")):
        here = {ceiling.what: ceiling.value for ceiling in measured if ceiling.device == device}
        names = {"ceiling_flops_per_s": what, "ceiling_bandwidth": "bandwidth", "cache_bytes": "cache"}
        found |= {name: here.get(key) for name, key in names.items()}
    return {name: (value,) for name, value in found.items() if value}


def judge(axes: Axes, seconds: float, ceilings: Observed, machine: Environment) -> list[Flag]:
    """Returns whether a latency claims more than the device can do, and whether nobody knows what a GPU can do.

    Work is what the backend executes, where that is known: that, too, must fit below the ceiling. Bandwidth is judged
    by what certainly crosses the memory's bus, however well a kernel keeps the rest in caches: weights and output of
    one call, less all that the caches may have kept from the call before. So a layer that fits in cache is not judged.
    """
    cost = layers.cost(axes)
    if cost is None or cost.useful_flops is None:
        return []
    work = max(cost.useful_flops, cost.executed_flops or 0)
    shares = {
        "the data sheet's FLOP/s": _share(work, seconds, ceilings.get("peak_flops_per_s")),
        "the measured FLOP/s": _share(work, seconds, ceilings.get("ceiling_flops_per_s")),
    }
    if cost.min_bytes is not None and (cache := ceilings.get("cache_bytes")):
        moved = min(cost.min_bytes, cost.parameter_bytes + cost.output_bytes) - cache[0]
        shares["the data sheet's bandwidth"] = _share(moved, seconds, ceilings.get("peak_bandwidth"))
        shares["the measured bandwidth"] = _share(moved, seconds, ceilings.get("ceiling_bandwidth"))
    flags = caveats.of_ceilings({name: share for name, share in shares.items() if share is not None})
    if axes["device"] == "cuda" and not ({"peak_flops_per_s", "ceiling_flops_per_s"} & set(ceilings)):
        gpu = machine.comparable.get("gpu") or "a GPU without a name"
        what = peaks.number_format(str(axes["dtype"]), "cuda", machine.comparable)
        flags.append(Flag("unknown_peak", f"{gpu}, {what}"))
    return flags


def attainable(axes: Axes, ceilings: Observed) -> float | None:
    """Returns the seconds that the useful work of a call takes at the rates measured here, None where none is known."""
    cost = layers.cost(axes)
    if cost is None:
        return None
    parts = ((cost.useful_flops, "ceiling_flops_per_s"), (cost.min_bytes, "ceiling_bandwidth"))
    bounds = [amount / ceilings[name][0] for amount, name in parts if amount is not None and name in ceilings]
    return max(bounds, default=None)


def _sliced(machine: Environment) -> bool:
    """Returns whether the GPU is divided among several users (MIG): the driver still calls it by the whole's name."""
    gpus = machine.informational.get("gpus") or [{}]
    return gpus[0].get("mig_enabled") is True


def _share(amount: float, seconds: float, ceiling: tuple[float, ...] | None) -> float | None:
    """Returns the share of a rate that an amount in a time is, None where the rate is unknown."""
    return None if not ceiling or seconds <= 0 else amount / (seconds * ceiling[0])


def _shares(amount: float | None, observed: Observed, ceiling: str) -> tuple[float, ...]:
    """Returns that share for each sample of latency, none where something is unknown."""
    if amount is None:
        return ()
    found = (_share(amount, seconds, observed.get(ceiling)) for seconds in observed.get("latency", ()))
    return tuple(share for share in found if share is not None)


def _mfu(axes: Axes, observed: Observed) -> tuple[float, ...]:
    """Returns useful FLOPs over what the data sheet promises in that time."""
    cost = layers.cost(axes)
    return () if cost is None else _shares(cost.useful_flops, observed, "peak_flops_per_s")


def _ceiling_share(axes: Axes, observed: Observed) -> tuple[float, ...]:
    """Returns useful FLOPs over what this device does at best in that time."""
    cost = layers.cost(axes)
    return () if cost is None else _shares(cost.useful_flops, observed, "ceiling_flops_per_s")


def _executed_share(axes: Axes, observed: Observed) -> tuple[float, ...]:
    """Returns executed FLOPs over what this device does at best in that time."""
    cost = layers.cost(axes)
    return () if cost is None else _shares(cost.executed_flops, observed, "ceiling_flops_per_s")


def _bandwidth_share(axes: Axes, observed: Observed) -> tuple[float, ...]:
    """Returns the fewest bytes over what this device moves at best in that time."""
    cost = layers.cost(axes)
    return () if cost is None else _shares(cost.min_bytes, observed, "ceiling_bandwidth")


def _peak_bandwidth_share(axes: Axes, observed: Observed) -> tuple[float, ...]:
    """Returns the fewest bytes over what the data sheet promises in that time."""
    cost = layers.cost(axes)
    return () if cost is None else _shares(cost.min_bytes, observed, "peak_bandwidth")


FAMILY = (
    Metric(
        "mfu",
        "ratio",
        "MFU",
        "higher",
        "Useful FLOPs over latency times the data sheet's dense peak of the number format; unknown without a sheet.",
        _mfu,
        needs=("latency", "peak_flops_per_s"),
    ),
    Metric(
        "ceiling_share",
        "ratio",
        "Share of the measured ceiling",
        "higher",
        "Useful FLOPs over latency times the best rate that `calibrate` measured here; unknown with other threads.",
        _ceiling_share,
        needs=("latency", "ceiling_flops_per_s"),
    ),
    Metric(
        "executed_share",
        "ratio",
        "Executed share of the measured ceiling",
        None,
        "Executed FLOPs over the same: where it is high and the useful share is low, the backend works in vain.",
        _executed_share,
        needs=("latency", "ceiling_flops_per_s"),
    ),
    Metric(
        "bandwidth_share",
        "ratio",
        "Share of the measured bandwidth",
        "higher",
        "Fewest bytes over latency times the measured bandwidth; above one where caches keep what it counts.",
        _bandwidth_share,
        needs=("latency", "ceiling_bandwidth"),
    ),
    Metric(
        "peak_bandwidth_share",
        "ratio",
        "Share of the data sheet's bandwidth",
        "higher",
        "Fewest bytes over latency times the data sheet's bandwidth; above one where caches keep what it counts.",
        _peak_bandwidth_share,
        needs=("latency", "peak_bandwidth"),
    ),
)
