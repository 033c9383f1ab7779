"""How long a call takes, with a fixed kernel timed after each sample.

Stored figures can be compared through that kernel: between processes it moves with the machine, not with the layer.
"""

from __future__ import annotations

import gc
from statistics import median
from typing import TYPE_CHECKING

import torch

from bench import conditions, readings
from bench.caveats import IMPRECISE
from bench.records import Flag, Observation
from bench.stats import precision, serial_correlation
from bench.watch import GpuWatch
from bench.worker.clock import clock_for
from bench.worker.device import uuid
from bench.worker.finding import Finding
from bench.worker.launch import ready
from bench.worker.sampling import Samples, Stopwatches, involuntary_switches, sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.records import Task
    from bench.worker.subject import Subject

REFERENCE_SHAPE = (256, 384, 1536)
"""Rows, width and hidden width of the reference kernel: one expert's work, about a third of a GFLOP."""

LAUNCH_BOUND = 1.2
"""Wall time over device time from which on launching, not computing, is what takes the time."""

COARSE = 1e-3
"""Largest share of a block that timing it may add."""


def observe(subject: Subject, task: Task) -> Finding:
    """Returns latency samples with the interleaved reference, and what happened around them."""
    watches = Stopwatches(clock_for(subject.device), clock_for(subject.device))
    call, reference = ready(subject), reference_kernel(subject.device)
    gc.collect()
    gc.disable()
    before = conditions.read()
    try:
        with GpuWatch(uuid(subject.device), before=subject.processes_before) as gpu:
            samples = sample(call, reference, watches, task.settings, cold=subject.cold, switches=_switches(subject))
    finally:
        gc.enable()
    after = conditions.read()
    overhead, around = watches.layer.overhead, conditions.facts(before, after)
    marks = {"preempted": samples.preempted, **readings.marks(gpu.watched, samples.spans)}
    return Finding(
        observations=(
            Observation("latency", "s", samples.layer),
            *((Observation("wall_latency", "s", samples.wall),) if samples.wall else ()),
            Observation("reference_latency", "s", samples.reference),
        ),
        flags=(
            *flags(samples, overhead),
            *conditions.flags(before, after),
            *readings.flags(gpu.watched, samples.spans),
        ),
        facts={
            "iterations": samples.warm_up.iterations,
            "stopped_by": samples.reason,
            "half_width": precision(samples.layer),
            "serial_correlation": serial_correlation(samples.layer),
            "warm_up_blocks": samples.warm_up.blocks,
            "warm_up_seconds": samples.warm_up.seconds,
            "warm_up_steady": samples.warm_up.steady,
            "timer_overhead": overhead,
            "starved_samples": samples.starved,
            **around,
            **readings.facts(gpu.watched, samples.spans),
            "page_faults_per_sample": around["minor_faults"] / len(samples.layer),
            "marks": {name: list(indices) for name, indices in marks.items() if indices},
        },
    )


def flags(samples: Samples, overhead: float) -> list[Flag]:
    """Returns the caveats that the samples of a process raise, where timing a block adds so many seconds."""
    return [*_precise(samples), *_launch_bound(samples), *_coarse(samples, overhead)]


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


def _switches(subject: Subject) -> Callable[[], int]:
    """Returns what counts the stops of a call; where a device computes, the host's are not its own."""
    return involuntary_switches if subject.device.type == "cpu" else int


def _precise(samples: Samples) -> list[Flag]:
    """Returns whether time was up before the median was known."""
    width = precision(samples.layer)
    if samples.reason != "time limit" or (width is not None and width <= IMPRECISE):
        return []
    count = len(samples.layer)
    detail = "1 sample" if count == 1 else f"{count} samples"
    return [Flag("time_limit", detail + ("" if width is None else f", ±{width:.0%}"))]


def _launch_bound(samples: Samples) -> list[Flag]:
    """Returns whether the host, not the device, sets the pace."""
    share = samples.starved / len(samples.layer)
    if share > 0.5:
        return [Flag("launch_bound", f"the device waited for the host in {share:.0%} of the samples")]
    ratio = median(samples.wall) / median(samples.layer) if samples.wall else 1.0
    return [Flag("launch_bound", f"{ratio:.1f} times as long on the wall clock")] if ratio > LAUNCH_BOUND else []


def _coarse(samples: Samples, overhead: float) -> list[Flag]:
    """Returns whether timing a block adds more to it than it may."""
    share = overhead / (median(samples.layer) * samples.warm_up.iterations)
    return [Flag("coarse_clock", f"timing adds {share:.1%}")] if share > COARSE else []
