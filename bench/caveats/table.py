"""What makes a number less true, in words: a closed list."""

from __future__ import annotations

from dataclasses import dataclass

from bench.caveats.rules import (
    CORRELATED,
    DISAGREEMENT,
    DRIFT,
    FEW_REPEATS,
    IMPRECISE,
    MARKED_SHARE,
    MARKED_SHIFT,
    NOISY_SPREAD,
    TOLERATED,
)
from bench.conditions import STOLEN_SHARE
from bench.readings import CLOCK_SPREAD, LOW_CLOCK

DISTURBED = ("loaded", "stolen", "swapped", "other_gpu_processes")
"""Caveats of a process whose time is not only its own doing."""


@dataclass(frozen=True)
class Caveat:
    """One reason to trust a number less: a short title, what it means, what to do about it."""

    code: str
    title: str
    text: str
    hint: str


TABLE: dict[str, Caveat] = {
    caveat.code: caveat
    for caveat in (
        Caveat(
            "noisy",
            "noisy",
            f"Samples of one process spread by more than {NOISY_SPREAD:.0%} of their median (interquartile range).",
            "Close other programs, or raise --max-seconds.",
        ),
        Caveat(
            "processes_differ",
            "processes differ",
            f"Medians of fresh processes lie more than {NOISY_SPREAD:.0%} apart around their centre (95 % interval).",
            "Raise --repeats; the interval beside the figure tells how far to trust it.",
        ),
        Caveat(
            "few_repeats",
            "few repeats",
            f"Fewer than {FEW_REPEATS} processes measured it, so no interval worth the name exists.",
            "Raise --repeats.",
        ),
        Caveat(
            "time_limit",
            "stopped by time",
            f"Sampling stopped at the time limit before a process knew its median to within {IMPRECISE:.0%}.",
            "Raise --max-seconds.",
        ),
        Caveat(
            "drifting",
            "drifting",
            f"The level moved by more than {DRIFT:.0%} from the first third of a process' samples to the last.",
            "The machine warms up or its clock wanders: raise --max-seconds, and look at the samples in order.",
        ),
        Caveat(
            "correlated",
            "samples hang together",
            f"Neighbouring samples of a process are alike (correlation above {CORRELATED:g}): they say less than as"
            " many independent ones.",
            "The interval over processes is not touched by it; raise --repeats rather than --max-seconds.",
        ),
        Caveat(
            "launch_bound",
            "bound by launching",
            "The host launches, or waits, more slowly than the GPU computes: a call takes longer on the wall clock than"
            " on the GPU.",
            "Read wall_latency beside latency; try launch=graph or launch=compile, or larger batches.",
        ),
        Caveat(
            "coarse_clock",
            "coarse clock",
            "A sample is so short that timing it adds more than 0.1 %.",
            "Only cache=cold times single calls: make the call larger, or use cache=hot.",
        ),
        Caveat(
            "graph_breaks",
            "compiled in pieces",
            "torch.compile could not make one graph of the layer and fell back to Python in between.",
            "Read the detail for the first reason; TORCH_LOGS=graph_breaks names all.",
        ),
        Caveat(
            "counters_disagree",
            "FLOP counters disagree",
            f"torch's counter differs by more than {DISAGREEMENT:.1%} from the formula, or from fvcore.",
            "Read the detail, which names the operators: for a layer of this package it is a defect worth a report.",
        ),
        Caveat(
            "counter_incomplete",
            "FLOP counter incomplete",
            "torch's counter or fvcore met operations that it cannot count, so its figure is left out.",
            "Use the formula or the other counter; the detail names the operations.",
        ),
        Caveat(
            "routing_differs",
            "routing differs from the oracle",
            "Some tokens went to other experts than in the float64 oracle (near ties); the error is over the others.",
            "Expected with bfloat16 and float16; in float32 more than 1 % of the tokens is worth a look.",
        ),
        Caveat(
            "inaccurate",
            "inaccurate",
            "The output is further from the float64 oracle than this number format explains.",
            "A wrong layer is not a fast layer: check it before you use its speed.",
        ),
        Caveat(
            "no_oracle",
            "not checked",
            "No float64 oracle exists for this layer, so nothing vouches for its output.",
            "Test it against a reference of your own.",
        ),
        Caveat(
            "memory_unknown",
            "memory unknown",
            "This system does not let a process reset its high-water mark.",
            "Measure memory on Linux with /proc.",
        ),
        Caveat(
            "loaded",
            "machine was busy",
            "Other programs used the processor when the case was measured.",
            "Close them, or read only ratios within one run.",
        ),
        Caveat(
            "stolen",
            "processor time stolen",
            f"The hypervisor kept more than {STOLEN_SHARE:.0%} of the processor time that was wanted.",
            "Use a machine whose cores are your own, or read only ratios within one run.",
        ),
        Caveat(
            "quota",
            "stopped by a quota",
            "A control group used up its processor time, and threads stood still in the middle of a sample.",
            "Lift the quota, or use fewer threads than cores that it allows (--set threads=N).",
        ),
        Caveat(
            "swapped",
            "swapped",
            "The machine moved memory to or from swap when the case was measured.",
            "Free memory, then switch swap off.",
        ),
        Caveat(
            "cpu_throttled",
            "processor too hot",
            "The processor lowered its clock because of heat when the case was measured.",
            "Cool it, or lower its clock for good so that it can be kept.",
        ),
        Caveat(
            "battery",
            "on battery",
            "A battery was discharging, and laptops then lower their clocks.",
            "Plug it in.",
        ),
        Caveat(
            "governor",
            "clock follows load",
            "The governor lets the processor's clock follow the load, so short samples may run on a low one.",
            "Set it: sudo cpupower frequency-set --governor performance.",
        ),
        Caveat(
            "clock_stepped",
            "clock was set",
            "The wall clock moved against the monotonic one: it was set, or the machine slept or moved.",
            "Measure again, and let no machine sleep that measures.",
        ),
        Caveat(
            "throttled",
            "GPU slowed down",
            "The GPU lowered its clocks to protect itself; the samples concerned are marked.",
            "Read the reasons in the detail: cooling, or the power supply.",
        ),
        Caveat(
            "thermal",
            "GPU too hot",
            "Heat was why the GPU lowered its clocks.",
            "Cool it, pause between cases, or lock its clocks lower (nvidia-smi --lock-gpu-clocks).",
        ),
        Caveat(
            "power_capped",
            "GPU at its power limit",
            "The GPU lowered its clocks to stay within its power limit, so time depends on the power drawn.",
            "Expected of large products; lock the clocks lower for steady figures (nvidia-smi --lock-gpu-clocks).",
        ),
        Caveat(
            "clock_low",
            "GPU clock low",
            f"At work the GPU's clock was below {LOW_CLOCK:.0%} of its highest.",
            "Look for power limits, locked clocks and heat with nvidia-smi -q -d PERFORMANCE,CLOCK.",
        ),
        Caveat(
            "clock_changed",
            "GPU clock changed",
            f"The GPU's clock moved by more than {CLOCK_SPREAD:.0%} between samples.",
            "Lock the clocks (nvidia-smi --lock-gpu-clocks), or raise --max-seconds.",
        ),
        Caveat(
            "other_gpu_processes",
            "other processes on the GPU",
            "Another process held the GPU when the case was measured.",
            "Use a GPU of your own.",
        ),
        Caveat(
            "marked_samples",
            "marked samples",
            f"Something disturbed more than {MARKED_SHARE:.0%} of the samples; without them the latency would differ"
            f" by more than {MARKED_SHIFT:.0%} or cannot be told; all are counted.",
            "Read the detail for what it was and the median without them; the export marks each sample.",
        ),
        Caveat(
            "suspect",
            "faster than its device",
            f"The rate is above {TOLERATED:.0%} of what the device can do, so time, work or ceiling is wrong.",
            "Calibrate again on an idle machine; if it stays, do not use the figure and report it.",
        ),
        Caveat(
            "unknown_peak",
            "peak unknown",
            "No data sheet and no calibration says how fast this GPU is with this number format, so there is no MFU.",
            "Run `softmoe-bench calibrate` on it with the same --store; no new run is needed.",
        ),
        Caveat(
            "energy_shared",
            "energy shared with others",
            "The energy counter is of the whole device, and other programs used it meanwhile.",
            "Close them; energy per call is too high by what they took.",
        ),
    )
}
