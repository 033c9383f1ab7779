"""What readings of a GPU, taken beside a measurement, say of it: caveats, marked samples, facts; all pure.

A marked sample is kept: it is the reader of a run who decides.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.records import Flag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Spans = Sequence[tuple[float, float]]

LOW_CLOCK = 0.75
"""Share of the highest SM clock below which the device runs slow; nvbench distrusts a sample there, too."""

CLOCK_SPREAD = 0.05
"""Lowest to highest SM clock during a measurement, over their median: compute-bound times move as much."""

REASONS = {
    0x1: "idle",
    0x2: "applications_clocks",
    0x4: "power_cap",
    0x8: "hardware_slowdown",
    0x10: "sync_boost",
    0x20: "software_thermal",
    0x40: "hardware_thermal",
    0x80: "power_brake",
    0x100: "display_clocks",
    0x200: "board_limit",
    0x400: "reliability",
}
"""Why the clocks are not higher, by NVML's bits (nvmlClocksEventReasons); most of them are normal."""

HOT = frozenset({"software_thermal", "hardware_thermal"})
SLOWED = HOT | {"hardware_slowdown", "power_brake"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a device says at one moment (`at` in seconds of perf_counter), in base units; None is what it does not tell.

    `processes` are ids as the driver's host numbers them, from the last look at them.
    """

    at: float
    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    reasons: frozenset[str] | None = None
    processes: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """The readings of one measurement in order, the device's highest SM clock, and who else is known to be there.

    `before` are the processes that were on a GPU before this one was, None if nobody looked; `own` is this process by
    the number that it knows itself by, which in a container need not be the driver's.
    """

    readings: tuple[Reading, ...] = ()
    max_clock_hz: float | None = None
    before: frozenset[int] | None = None
    own: int | None = None


def decode(bits: int) -> frozenset[str]:
    """Returns the words for NVML's bits; a bit that is newer than this table keeps its number."""
    ones = [1 << place for place in range(bits.bit_length()) if bits >> place & 1]
    return frozenset(REASONS.get(bit, f"{bit:#x}") for bit in ones)


def others(watched: Watched) -> tuple[frozenset[int], ...]:
    """Returns for each reading the processes that are not this one.

    Where the driver does not know our number, the new process that is there in most readings is taken for us, and
    every further one is somebody else's.
    """
    seen = [reading.processes or frozenset() for reading in watched.readings]
    new = Counter(pid for pids in seen for pid in pids - (watched.before or frozenset()))
    known = any(watched.own in pids for pids in seen)
    ours = watched.own if known else min(new, key=lambda pid: (-new[pid], pid), default=None)
    return tuple(pids - {ours} for pids in seen)


def flags(watched: Watched, spans: Spans) -> tuple[Flag, ...]:
    """Returns the caveats of a measurement whose samples lay in `spans`, (start, end) in seconds of perf_counter."""
    return tuple(_flags(watched, spans))


def marks(watched: Watched, spans: Spans) -> dict[str, tuple[int, ...]]:
    """Returns for each caveat the indices of the samples that it concerns.

    Between two readings nothing is known, so a sample is marked if a reading in it or either neighbour is bad.
    """
    codes, moments = _codes(watched, spans), _moments(watched)
    found: dict[str, list[int]] = {}
    for index, (start, end) in enumerate(spans):
        for code in sorted(frozenset().union(*codes[_around(moments, start, end)])):
            found.setdefault(code, []).append(index)
    return {code: tuple(indices) for code, indices in found.items()}


def facts(watched: Watched, spans: Spans) -> dict[str, Any]:
    """Returns what the readings around and between the samples come to; plain data, {} without readings.

    Clocks, temperature and power are [lowest, median, highest] or None; reasons say in how many readings they stood.
    """
    readings = watched.readings[_during(watched, spans)]
    if not readings:
        return {}
    quantities = ("sm_clock_hz", "memory_clock_hz", "temperature_c", "power_w")
    told = [reading.reasons for reading in readings if reading.reasons is not None]
    return {
        "gpu_readings": len(readings),
        **{f"gpu_{name}": _range([getattr(reading, name) for reading in readings]) for name in quantities},
        "gpu_max_sm_clock_hz": watched.max_clock_hz,
        "gpu_clock_reasons": dict(sorted(Counter(reason for one in told for reason in one).items())) if told else None,
    }


def _flags(watched: Watched, spans: Spans) -> Iterator[Flag]:
    """Yields the caveats in the order of their table."""
    during = _during(watched, spans)
    readings, codes = watched.readings[during], _codes(watched, spans)[during]
    reasons = frozenset().union(*(reading.reasons or () for reading in readings))
    clocks = [reading.sm_clock_hz for reading in readings if reading.sm_clock_hz and _working(reading, spans)]
    count = Counter(code for found in codes for code in found)
    share = {code: f"in {count[code]} of {len(readings)} readings" for code in count}
    if "throttled" in share:
        yield Flag("throttled", f"{share['throttled']}: {', '.join(sorted(reasons & SLOWED))}")
    if "thermal" in share:
        hottest = max((r.temperature_c for r in readings if r.temperature_c is not None), default=None)
        yield Flag("thermal", share["thermal"] + ("" if hottest is None else f", up to {hottest:.0f} °C"))
    if "power_capped" in share:
        yield Flag("power_capped", share["power_capped"])
    if "clock_low" in share:
        yield Flag("clock_low", f"{share['clock_low']}, down to {min(clocks) / 1e6:.0f} MHz")
    if clocks and max(clocks) - min(clocks) > CLOCK_SPREAD * median(clocks):
        yield Flag("clock_changed", f"between {min(clocks) / 1e6:.0f} and {max(clocks) / 1e6:.0f} MHz")
    if "other_gpu_processes" in share:
        most = max(len(pids) for pids in others(watched)[during])
        yield Flag("other_gpu_processes", f"{most} beside this one, {share['other_gpu_processes']}")


def _codes(watched: Watched, spans: Spans) -> list[frozenset[str]]:
    """Returns for each reading the caveats that it raises."""
    strangers = others(watched)
    slow = LOW_CLOCK * (watched.max_clock_hz or 0.0)
    found = []
    for reading, pids in zip(watched.readings, strangers, strict=True):
        reasons, clock = reading.reasons or frozenset(), reading.sm_clock_hz
        raised = {
            "throttled": bool(reasons & SLOWED),
            "thermal": bool(reasons & HOT),
            "power_capped": "power_cap" in reasons,
            "clock_low": clock is not None and clock < slow and _working(reading, spans),
            "other_gpu_processes": bool(pids),
        }
        found.append(frozenset(code for code, holds in raised.items() if holds))
    return found


def _working(reading: Reading, spans: Spans) -> bool:
    """Returns whether the device was at work: an idle one lowers its clock, which slows nothing down."""
    if reading.reasons is not None:
        return "idle" not in reading.reasons
    return bool(spans) and spans[0][0] <= reading.at <= spans[-1][1]


def _during(watched: Watched, spans: Spans) -> slice:
    """Returns where the readings lie that tell of a measurement; samples follow each other."""
    return _around(_moments(watched), spans[0][0], spans[-1][1]) if spans else slice(0)


def _moments(watched: Watched) -> list[float]:
    """Returns when each reading was taken."""
    return [reading.at for reading in watched.readings]


def _around(moments: Sequence[float], start: float, end: float) -> slice:
    """Returns where the readings between two moments lie, with the last one before and the first one after them."""
    return slice(max(0, bisect_right(moments, start) - 1), bisect_left(moments, end) + 1)


def _range(values: Sequence[float | None]) -> list[float] | None:
    """Returns lowest, median and highest of the known values."""
    known = [value for value in values if value is not None]
    return [min(known), median(known), max(known)] if known else None
