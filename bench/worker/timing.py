"""How long a call takes: calibrated blocks, warm-up on the same path, samples until the median is known.

After each sample a fixed kernel is timed, so that stored figures can be compared through it: between processes it
moves with the machine, not with the layer.
"""

from __future__ import annotations

import gc
import math
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import torch

from bench.caveats import IMPRECISE
from bench.records import Flag, Observation
from bench.stats import median_half_width
from bench.worker.clock import Clock, clock_for
from bench.worker.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.records import Settings, Task
    from bench.worker.subject import Subject

WARM_UP_SHARE = 0.5
"""Warm-up takes at most this share of the time limit."""

STEADY = 0.03
"""Warm-up ends when the last three blocks lie this close together, relative to their median."""

REFERENCE_SHAPE = (256, 384, 1536)
"""Rows, width and hidden width of the reference kernel: one expert's work, about a third of a GFLOP."""

BUSY_CORES = 0.25
"""Cores that other programs may use before a measurement counts as disturbed."""


@dataclass(frozen=True)
class Samples:
    """Seconds per call of the layer and of the reference kernel, block by block, and why sampling ended."""

    layer: tuple[float, ...]
    reference: tuple[float, ...]
    iterations: int
    reason: str


def observe(subject: Subject, task: Task) -> Finding:
    """Returns latency samples with the interleaved reference, and what happened around them."""
    clock = clock_for(subject.device)
    reference = reference_kernel(subject.device)
    watch = _Others()
    faults = _page_faults()
    gc.collect()
    gc.disable()
    try:
        samples = sample(subject.call, reference, clock, task.settings, cold=subject.cold)
    finally:
        gc.enable()
    others = watch.cores()
    flags: list[Flag] = []
    width = median_half_width(samples.layer)
    if samples.reason == "time limit" and (width is None or width > IMPRECISE):
        detail = "1 sample" if len(samples.layer) == 1 else f"{len(samples.layer)} samples"
        flags.append(Flag("time_limit", detail + ("" if width is None else f", ±{width:.0%}")))
    if others is not None and others > BUSY_CORES:
        flags.append(Flag("loaded", f"{others:.1f} cores in use by others"))
    return Finding(
        observations=(
            Observation("latency", "s", samples.layer),
            Observation("reference_latency", "s", samples.reference),
        ),
        flags=tuple(flags),
        facts={
            "iterations": samples.iterations,
            "stopped_by": samples.reason,
            "half_width": width,
            "others_cores": others,
            "page_faults_per_sample": (_page_faults() - faults) / len(samples.layer),
        },
    )


def sample(
    call: Callable[[int], object],
    reference: Callable[[int], object],
    clock: Clock,
    settings: Settings,
    *,
    cold: bool = False,
    now: Callable[[], float] = time.perf_counter,
) -> Samples:
    """Returns samples of `call`, each followed by one of `reference`.

    Warm-up does what the timed blocks do, cache flush included. Sampling ends when half the interval of the median is
    narrower than asked for, with at least the asked number of samples, or at the time limit.
    """
    began = now()
    prepare = clock.flush if cold else _nothing
    iterations, turn = _warm_up(call, clock, prepare, began + WARM_UP_SHARE * settings.max_seconds, cold=cold, now=now)
    reference_iterations, _ = _warm_up(reference, clock, _nothing, now(), cold=False, now=now)
    layer: list[float] = []
    beside: list[float] = []
    deadline = now() + settings.max_seconds
    while True:
        prepare()
        layer.append(clock.block(call, turn, iterations))
        turn += iterations
        beside.append(clock.block(reference, 0, reference_iterations))
        if len(layer) >= settings.min_samples:
            width = median_half_width(layer)
            if width is not None and width <= settings.half_width:
                return Samples(tuple(layer), tuple(beside), iterations, "precise")
        if now() >= deadline:
            return Samples(tuple(layer), tuple(beside), iterations, "time limit")


def reference_kernel(device: torch.device) -> Callable[[int], object]:
    """Returns a fixed piece of work on a device: one FFN expert in float32."""
    rows, width, hidden = REFERENCE_SHAPE
    generator = torch.Generator().manual_seed(0)
    x_RD, w1_DF, w2_FD = (
        torch.randn(shape, generator=generator).to(device)
        for shape in ((rows, width), (width, hidden), (hidden, width))
    )

    @torch.inference_mode()
    def kernel(_turn: int) -> torch.Tensor:
        return torch.nn.functional.gelu(x_RD @ w1_DF, approximate="tanh") @ w2_FD

    return kernel


def _warm_up(
    call: Callable[[int], object],
    clock: Clock,
    prepare: Callable[[], None],
    deadline: float,
    *,
    cold: bool,
    now: Callable[[], float],
) -> tuple[int, int]:
    """Returns how many calls make a block, and the next turn, once three blocks agree or the deadline has passed.

    With cold caches a block is one call: the second would find them warm.
    """
    turn, iterations = 0, 1
    last: list[float] = []
    while True:
        prepare()
        seconds = clock.block(call, turn, iterations)
        turn += iterations
        wanted = 1 if cold else max(1, math.ceil(clock.least_block / max(seconds, 1e-9)))
        if wanted > iterations:
            iterations, last = wanted, []
            continue
        last = [*last[-2:], seconds]
        steady = len(last) == 3 and max(last) - min(last) <= STEADY * sorted(last)[1]
        if steady or now() >= deadline:
            return iterations, turn


def _nothing() -> None:
    """Prepares nothing: caches stay as the last call left them."""


def _page_faults() -> int:
    """Returns how many pages this process has had to be given so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


class _Others:
    """How many cores other programs keep busy between two moments."""

    def __init__(self) -> None:
        self._start = self._read()

    def cores(self) -> float | None:
        """Returns cores used by others since the start, None where the system does not tell."""
        end = self._read()
        wall, everyone, own = (b - a for a, b in zip(self._start, end, strict=True))
        return max(0.0, everyone - own) / wall if wall > 0 else None

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """Returns wall seconds, busy seconds of all cores, and processor seconds of this process."""
        times: Any = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        busy -= getattr(times, "guest_nice", 0.0)
        own = psutil.Process().cpu_times()
        return time.monotonic(), busy, own.user + own.system
