"""What a case will need, before it is measured: bytes from its formulas, seconds from its time limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from bench import layers, peaks
from bench.records import INSPECTION, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.axes import AxisValue
    from bench.costs import Cost
    from bench.environment import Fact
    from bench.store import Store

STATE = {"sgd": 0, "adamw": 2}
"""Numbers that an optimizer keeps for each parameter."""

SECONDS_BESIDE_TIMING = 0.5
"""What a process costs beside warm-up and timed samples: start, weights, tokens."""

WARM_UP_SHARE = 0.5
"""Warm-up takes at most this share of the time limit (`bench.worker.sampling`; a test holds them equal)."""

FEWEST_CALLS = 4
"""Calls of a timed process however slow they are: a look at the output's shape, the first, a warm one, one sample."""


@dataclass(frozen=True)
class Experience:
    """What earlier runs on a machine tell: seconds of a process by case, and the FLOP/s that it reaches at best.

    `rates` are by device and number format, which for float32 the `machine` decides.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[tuple[str, str], float] = field(default_factory=dict)
    machine: Mapping[str, Fact] = field(default_factory=dict)

    def rate(self, axes: Mapping[str, AxisValue]) -> float | None:
        """Returns the FLOP/s that a case can reach at best, None where the machine was not calibrated."""
        device = str(axes["device"])
        return self.rates.get((device, peaks.number_format(str(axes["dtype"]), device, self.machine)))


def experience(store: Store, machine: Mapping[str, Fact], max_seconds: float) -> Experience:
    """Returns what runs and calibrations in a store tell of a machine, known by the facts that need no worker.

    Only processes with the same time limit took what others will.
    """
    runs = [
        run
        for run in store.runs()
        if all(run.environment.comparable.get(name) == value for name, value in machine.items())
    ]
    taken: dict[str, list[float]] = {}
    for run in runs:
        for outcome in store.outcomes(run.id) if run.settings.get("max_seconds") == max_seconds else ():
            if outcome.status is Status.OK and outcome.repeat != INSPECTION:
                taken.setdefault(outcome.case_id, []).append(outcome.finished - outcome.started)
    seconds = {case_id: median(found) for case_id, found in taken.items()}
    for environment in (run.environment for run in reversed(runs)):
        if known := store.ceilings(environment.fingerprint):
            rates = {(ceiling.device, ceiling.what): ceiling.value for ceiling in known}
            return Experience(seconds, rates, environment.comparable)
    return Experience(seconds)


def weights_bytes(axes: Mapping[str, AxisValue]) -> int | None:
    """Returns bytes of parameters, their gradients and the optimizer's state; None for a layer from outside."""
    cost = _forward(axes)
    return None if cost is None else cost.parameter_bytes * _copies(axes)


def peak_bytes(axes: Mapping[str, AxisValue]) -> int | None:
    """Returns about the most bytes that one call needs: weights, tokens, output and all between; None if unknown.

    Going back, everything between has a gradient. It errs on the high side where a backend frees what it has used.
    """
    cost, weights = _forward(axes), weights_bytes(axes)
    if cost is None or weights is None or cost.between_bytes is None:
        return None
    return weights + (2 * cost.output_bytes + cost.between_bytes) * (1 if axes["mode"] == "forward" else 2)


def too_large(axes: Mapping[str, AxisValue], memory: Mapping[str, int]) -> str | None:
    """Returns why a case cannot fit into its device, or None; `memory` is what each device has in bytes.

    Only weights count, which nothing can do without: formulas of all the rest are no ground to refuse a case.
    """
    weights, has = weights_bytes(axes), memory.get(str(axes["device"]))
    if weights is None or has is None or weights <= has:
        return None
    what = {1: "weights", 2: "weights and gradients"}.get(_copies(axes), "weights, gradients and optimizer state")
    return f"{what} take {weights / 2**30:.1f} GiB, {axes['device']} has {has / 2**30:.1f} GiB"


def process_seconds(axes: Mapping[str, AxisValue], max_seconds: float, *, flops_per_s: float | None = None) -> float:
    """Returns about how long a process of a case takes at most; longer where a call is slower than its time limit.

    `flops_per_s` is what the device reaches at best, where that is known: a large call takes at least that long.
    """
    cost = layers.cost(axes)
    flops = None if cost is None else cost.useful_flops
    slowest = 0.0 if flops is None or not flops_per_s else FEWEST_CALLS * flops / flops_per_s
    return SECONDS_BESIDE_TIMING + max((1 + WARM_UP_SHARE) * max_seconds, slowest)


def _copies(axes: Mapping[str, AxisValue]) -> int:
    """Returns how many numbers a call keeps for each parameter."""
    if axes["mode"] == "forward":
        return 1
    return 2 + (STATE[str(axes["optimizer"])] if axes["mode"] == "train_step" else 0)


def _forward(axes: Mapping[str, AxisValue]) -> Cost | None:
    """Returns the cost of a forward call of the case."""
    return layers.cost({**axes, "mode": "forward"})
