"""Stopwatches: blocks of calls timed by the process' clock on a CPU and by events on a CUDA device."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_CPU_BLOCK = 4e-3
"""Seconds; blocks of 4 ms halved the spread of paired ratios against 1 ms on shared machines."""

LEAST_CUDA_BLOCK = 1e-3
"""Seconds; events resolve about half a microsecond, so 0.1 % needs at least 0.5 ms."""

EVENT_SECONDS = 0.5e-6
"""Resolution of CUDA events; source: CUDA Runtime API, cudaEventElapsedTime."""

UNKNOWN_CACHE_BYTES = 64 * 2**20
"""Assumed size of the last CPU cache where the system does not tell."""

LEAST_CUDA_FLUSH = 256 * 2**20
"""Bytes; as triton.testing does, for caches larger than reported."""

SPIN_HZ = 2e9
"""Cycles that a spinning kernel takes for a second at about the highest clock of today's devices; slower ones spin
longer, which is harmless."""

FIRST_HOLD, LONGEST_HOLD = 1e-3, 20e-3
"""Seconds for which the device is held back at first, and at most, while the host fills its queue."""

IN_VAIN = 3
"""Blocks in a row that starve at the longest hold before holding is given up; one may be an accident."""

BUSY_HOST = 0.9
"""Share of a block for which the host may launch before the device counts as waiting for it."""


class Clock(Protocol):
    """Times blocks of calls.

    `least_block` is the shortest block in seconds that it can be trusted with, `overhead` what timing a block adds to
    it. `starved` says whether the device waited for the host within the last block; `has_wall`, whether `wall`
    tells anything that `block` does not.
    """

    least_block: float
    overhead: float
    has_wall: bool
    starved: bool

    def block(self, call: Callable[[int], object], first: int, iterations: int) -> float:
        """Returns seconds per call over a block of calls with turns first, first + 1, ..."""

    def wall(self, call: Callable[[int], object], first: int, iterations: int) -> float:
        """Returns seconds per call as the host sees them."""

    def flush(self) -> None:
        """Leaves nothing useful in the caches."""


class CpuClock:
    """The monotonic clock of the process; a call has ended when it returns."""

    least_block = LEAST_CPU_BLOCK
    has_wall = False
    starved = False

    def __init__(self) -> None:
        self._rubbish: torch.Tensor | None = None
        self.overhead = median(self.block(_nothing, 0, 1) for _ in range(101))

    def block(self, call: Callable[[int], object], first: int, iterations: int) -> float:
        """Returns seconds per call over a block of calls."""
        turns = range(first, first + iterations)
        start = time.perf_counter_ns()
        for turn in turns:
            call(turn)
        return (time.perf_counter_ns() - start) / iterations * 1e-9

    wall = block

    def flush(self) -> None:
        """Writes twice the last cache."""
        if self._rubbish is None:
            self._rubbish = torch.zeros(2 * last_cache_bytes() // 4)
        self._rubbish.add_(1.0)


class CudaClock:
    """Events on the current stream around a block whose queue is filled before the device may begin.

    A spinning kernel holds the device back while the host enqueues the block, after nvbench's blocking kernel: the
    events then time the device alone, not the pace of the host's launches. The hold grows until the queue never ran
    dry; a call that waits for the device itself cannot be held for, which `starved` says.
    """

    least_block = LEAST_CUDA_BLOCK
    overhead = EVENT_SECONDS
    has_wall = True

    def __init__(
        self,
        device: torch.device,
        cuda: Any = torch.cuda,  # noqa: ANN401  (or a fake of it)
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._device = device
        self._cuda = cuda
        self._now = now
        self._rubbish: torch.Tensor | None = None
        self._hold = 0.0
        self._in_vain = 0
        self.starved = False

    def block(self, call: Callable[[int], object], first: int, iterations: int) -> float:
        """Returns seconds per call over a block of calls."""
        start, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
        if self._hold:
            self._cuda._sleep(int(self._hold * SPIN_HZ))  # noqa: SLF001  (torch's own tests hold a stream so)
        start.record()
        began = self._now()
        for turn in range(first, first + iterations):
            call(turn)
        host = self._now() - began
        overtaken = bool(start.query())  # the device began before the host had launched all
        end.record()
        end.synchronize()
        seconds = float(start.elapsed_time(end)) * 1e-3
        self.starved = overtaken and host > BUSY_HOST * seconds
        self._adapt(overtaken=overtaken, host=host)
        return seconds / iterations

    def wall(self, call: Callable[[int], object], first: int, iterations: int) -> float:
        """Returns seconds per call from the first launch until the device has done all, nothing held back."""
        self._cuda.synchronize(self._device)
        began = self._now()
        for turn in range(first, first + iterations):
            call(turn)
        self._cuda.synchronize(self._device)
        return (self._now() - began) / iterations

    def flush(self) -> None:
        """Writes twice the L2 cache; it runs on the same stream, before the next block's first event."""
        if self._rubbish is None:
            l2_bytes = self._cuda.get_device_properties(self._device).L2_cache_size
            size = max(2 * l2_bytes, LEAST_CUDA_FLUSH)
            self._rubbish = torch.zeros(size // 4, dtype=torch.int32, device=self._device)
        self._rubbish.zero_()

    def _adapt(self, *, overtaken: bool, host: float) -> None:
        """Holds longer after a block whose start was not held for long enough, and no more where that is in vain."""
        if not overtaken:
            self._in_vain = 0
        elif self._in_vain >= IN_VAIN:
            self._hold = 0.0
        elif self._hold >= LONGEST_HOLD:
            self._in_vain += 1
        else:
            self._hold = min(LONGEST_HOLD, max(2 * self._hold, min(1.5 * host, FIRST_HOLD)))


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


def _nothing(_turn: int) -> None:
    """Is timed to learn what timing costs."""
