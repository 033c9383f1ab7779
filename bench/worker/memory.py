"""How many bytes a call needs: the device allocator's own peak, or the process' high-water mark on a CPU."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.records import Flag
from bench.worker.finding import Finding, one

if TYPE_CHECKING:
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


def observe(subject: Subject, task: Task) -> Finding:
    """Returns bytes of the parameters, most bytes during a call, and most bytes that the call adds."""
    del task
    parameters = sum(p.numel() * p.element_size() for p in subject.layer.parameters())
    count = sum(p.numel() for p in subject.layer.parameters())
    known = one("parameter_memory", "B", parameters) + one("parameters", "count", count)
    x_BMD = subject.batches[0]
    held = parameters + x_BMD.numel() * x_BMD.element_size()
    added = _cuda(subject) if subject.device.type == "cuda" else _cpu(subject)
    if added is None:
        return Finding(known, (Flag("memory_unknown"),))
    return Finding(known + one("activation_memory", "B", added) + one("peak_memory", "B", held + added))


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


def _cuda(subject: Subject) -> int:
    """Returns bytes that a call adds to what torch's allocator holds before it."""
    subject.call(0)
    subject.synchronize()
    gc.collect()
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated(subject.device)
    torch.cuda.reset_peak_memory_stats(subject.device)
    subject.call(0)
    subject.synchronize()
    return int(torch.cuda.max_memory_allocated(subject.device)) - held


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
