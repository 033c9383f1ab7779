"""How many bytes a call needs: the device allocator's own peaks, or the process' high-water mark on a CPU."""

from __future__ import annotations

import ctypes
import gc
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from bench.records import Flag
from bench.worker.finding import Finding, one

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.records import Task
    from bench.worker.subject import Subject

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What resets VmHWM; source: Linux, Documentation/filesystems/proc.rst."""

M_MMAP_THRESHOLD = -3
"""glibc malloc.h; a fixed threshold also ends its growth, so that every large block goes back when it is freed."""
SMALL_BLOCK = 64 * 1024
LARGEST_BLOCK = 32 * 2**20
"""Most that glibc takes for that threshold on 64-bit machines (malloc.c, HEAP_MAX_SIZE / 2)."""

M_TRIM_THRESHOLD = -1
MOST_KEPT = 2**31 - 4096


class Allocator(Protocol):
    """What is asked of torch's allocator for a GPU: `torch.cuda`, or a fake of it."""

    def empty_cache(self) -> None:
        """Gives the device back what no tensor uses."""

    def reset_peak_memory_stats(self, device: torch.device) -> None:
        """Sets the peaks to the levels of now."""

    def memory_stats(self, device: torch.device) -> dict[str, Any]:
        """Returns levels and peaks in bytes, by name; empty before the device is first used."""


@dataclass(frozen=True)
class Peaks:
    """What one call did to a GPU's allocator, which was emptied before it; bytes.

    `added` is the peak of what tensors used above the level before the call, `allocated` that peak itself, `reserved`
    the most that the allocator held of the device's memory. `inactive_split` is the most that lay idle in pieces of
    blocks of which other pieces were in use: it can neither be given back nor taken for anything larger.
    """

    added: int
    allocated: int
    reserved: int
    inactive_split: int

    @property
    def fragmentation(self) -> float | None:
        """What the allocator held beyond what tensors used, both at their peak, over what it held."""
        return 1 - self.allocated / self.reserved if self.reserved else None


def observe(subject: Subject, task: Task) -> Finding:
    """Returns bytes of the parameters, most bytes during a call, and most bytes that the call adds."""
    del task
    return look(subject)


def look(subject: Subject, allocator: Allocator = torch.cuda) -> Finding:
    """Returns what `observe` does.

    A first call is made before the one that is measured: it loads code, and makes the optimizer's state, which belongs
    to the peak and is nothing that a call adds. The call is launched kernel by kernel: a CUDA graph keeps all that its
    calls use for as long as it lives, so what the allocator reserves says nothing of it and is left out.
    """
    parameters = sum(p.numel() * p.element_size() for p in subject.layer.parameters())
    count = sum(p.numel() for p in subject.layer.parameters())
    known = one("parameter_memory", "B", parameters) + one("parameters", "count", count)
    x_BMD = subject.batches[0]
    peaks = _cuda(subject, allocator) if subject.device.type == "cuda" else None
    added = _cpu(subject) if peaks is None else peaks.added
    state = None if subject.optimizer is None else optimizer_bytes(subject.optimizer)
    known += one("optimizer_memory", "B", state)
    if added is None:
        return Finding(known, (Flag("memory_unknown"),))
    peak = parameters + x_BMD.numel() * x_BMD.element_size() + (state or 0) + added
    known += one("activation_memory", "B", added) + one("peak_memory", "B", peak)
    if peaks is None or subject.launch == "graph":
        return Finding(known)
    known += one("reserved_memory", "B", peaks.reserved) + one("fragmentation", "ratio", peaks.fragmentation)
    return Finding(known, facts={"inactive_split_bytes": peaks.inactive_split})


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Returns the bytes of an optimizer's state, wherever it lies: none before its first step."""
    return sum(t.numel() * t.element_size() for t in _tensors(list(optimizer.state.values())))


def forget(subject: Subject, allocator: Allocator = torch.cuda) -> None:
    """Gives cached device memory back, so that no pass sees what another one left."""
    if subject.device.type == "cuda":
        gc.collect()
        allocator.empty_cache()


def keep_freed() -> bool:
    """Lets glibc keep freed memory for the next call, and returns whether it does.

    Left alone, it gives large blocks back and faults them in again, or not, by where they happen to lie in the heap:
    one layer then takes 13 ms in all processes of one run and 34 ms in all of the next. What lies above glibc's limit
    for a block of its own (32 MiB) is faulted in by every call, always.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt"):
        return False
    return bool(libc.mallopt(M_TRIM_THRESHOLD, MOST_KEPT)) and bool(libc.mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK))


def resident() -> int | None:
    """Returns the bytes of this process that are in memory now, None where the system does not tell."""
    return _read("VmRSS")


def _cuda(subject: Subject, allocator: Allocator) -> Peaks:
    """Returns what a call does to torch's allocator, after a first call, whose leavings are given back."""
    subject.call(0)
    subject.synchronize()
    forget(subject, allocator)
    held = allocator.memory_stats(subject.device).get("allocated_bytes.all.current", 0)
    allocator.reset_peak_memory_stats(subject.device)
    subject.call(0)
    subject.synchronize()
    stats = allocator.memory_stats(subject.device)
    allocated, reserved, idle = (
        int(stats.get(f"{name}.all.peak", 0)) for name in ("allocated_bytes", "reserved_bytes", "inactive_split_bytes")
    )
    return Peaks(allocated - int(held), allocated, reserved, idle)


def _tensors(value: object) -> Iterator[torch.Tensor]:
    """Yields the tensors in a state, however nested."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tensors(inner)


def _cpu(subject: Subject) -> int | None:
    """Returns bytes that a call adds to the resident set, after a first call has loaded code and library buffers."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "malloc_trim"):
        return None
    libc.mallopt(M_MMAP_THRESHOLD, SMALL_BLOCK)
    subject.call(0)
    gc.collect()
    libc.malloc_trim(0)
    try:
        CLEAR.write_text(RESET_PEAK, encoding="ascii")
    except OSError:
        return None
    before = resident()
    subject.call(0)
    peak = _read("VmHWM")
    return None if before is None or peak is None else max(0, peak - before)


def _read(key: str) -> int | None:
    """Returns one figure of /proc/self/status in bytes."""
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)
