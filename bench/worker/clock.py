"""Stopwatches: blocks of calls timed by the process' clock on a CPU and by events on a CUDA device."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_CPU_BLOCK = 4e-3
"""Seconds; blocks of 4 ms halved the spread of paired ratios against 1 ms on shared machines."""

LEAST_CUDA_BLOCK = 1e-3
"""Seconds; events resolve about half a microsecond, so 0.1 % needs at least 0.5 ms."""

UNKNOWN_CACHE_BYTES = 64 * 2**20
"""Assumed size of the last CPU cache where the system does not tell."""

LEAST_CUDA_FLUSH = 256 * 2**20
"""Bytes; as triton.testing does, for caches larger than reported."""


class Clock(Protocol):
    """Times blocks of calls; `least_block` is the shortest block in seconds that it can be trusted with."""

    least_block: float

    def block(self, call: Callable[[int], object], first: int, iterations: int) -> float:
        """Returns seconds per call over a block of calls with turns first, first + 1, ..."""

    def flush(self) -> None:
        """Leaves nothing useful in the caches."""


class CpuClock:
    """The monotonic clock of the process; a call has ended when it returns."""

    least_block = LEAST_CPU_BLOCK

    def __init__(self) -> None:
        self._rubbish: torch.Tensor | None = None

    def block(self, call: Callable[[int], object], first: int, iterations: int) -> float:
        """Returns seconds per call over a block of calls."""
        turns = range(first, first + iterations)
        start = time.perf_counter_ns()
        for turn in turns:
            call(turn)
        return (time.perf_counter_ns() - start) / iterations * 1e-9

    def flush(self) -> None:
        """Writes twice the last cache."""
        if self._rubbish is None:
            self._rubbish = torch.zeros(2 * last_cache_bytes() // 4)
        self._rubbish.add_(1.0)


class CudaClock:
    """Events on the current stream around a block; the host waits once, at the end."""

    least_block = LEAST_CUDA_BLOCK

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._rubbish: torch.Tensor | None = None

    def block(self, call: Callable[[int], object], first: int, iterations: int) -> float:
        """Returns seconds per call over a block of calls."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        for turn in range(first, first + iterations):
            call(turn)
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / iterations * 1e-3

    def flush(self) -> None:
        """Writes twice the L2 cache; it runs on the same stream, before the next block's first event."""
        if self._rubbish is None:
            l2_bytes = torch.cuda.get_device_properties(self._device).L2_cache_size
            size = max(2 * l2_bytes, LEAST_CUDA_FLUSH)
            self._rubbish = torch.zeros(size // 4, dtype=torch.int32, device=self._device)
        self._rubbish.zero_()


def clock_for(device: torch.device) -> Clock:
    """Returns the stopwatch of a device."""
    return CudaClock(device) if device.type == "cuda" else CpuClock()


def last_cache_bytes(root: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """Returns the size of the CPU's largest cache as Linux tells it, an assumption where it does not."""
    sizes = []
    for path in root.glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        unit = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
        digits = text.rstrip("KMG")
        if digits.isdigit():
            sizes.append(int(digits) * unit)
    return max(sizes, default=UNKNOWN_CACHE_BYTES)
