"""What this very device reaches: FLOP/s of matrix products per number format, and bytes per second of its memory.

A ceiling is the best median over a sweep of shapes, so neither the luck of one sample nor one unlucky shape makes it
(after the "maximum achievable matmul FLOPS" of S. Bekman, Machine Learning Engineering). Bandwidth follows STREAM
(J. D. McCalpin, 1995): arrays of at least four times the last cache; the bytes counted are those that the program reads
and writes, not what a cache reads before it writes. A layer that mostly reads its weights moves more than a copy does
where a write costs a read, so a sum, which only reads, is among the ways.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache as once
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
import torch

from bench import caveats, conditions
from bench.environment import cgroup_limits
from bench.records import Ceiling
from bench.worker.clock import clock_for, last_cache_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bench.worker.clock import Clock

SHAPES = {
    "cpu": ((256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (1024, 512, 2048), (2048, 2048, 2048)),
    "cuda": (
        (1024, 1024, 1024),
        (2048, 2048, 2048),
        (4096, 4096, 4096),
        (8192, 2048, 8192),
        (4096, 4096, 16384),
        (8192, 8192, 8192),
        (16384, 8192, 8192),
    ),
}
"""Rows, columns and inner width of the products tried on each kind of device, in the order of their work."""

MIN_SAMPLES = 7
"""Blocks that a median is taken over, at least."""

CALLS = MIN_SAMPLES + 2
"""Calls that a median takes at least: two come before, to warm up and to see how long one is."""

CONTENDER = 0.5
"""A way whose fastest block is below this share of the best median does not win any more."""

CACHES = 4
"""Arrays that measure memory are so many times as large as the last caches together, as STREAM asks."""

LEAST_ARRAY = 64 * 2**20
"""Bytes of such an array at least, so that starting a kernel does not count."""

MEMORY_SHARE = 0.5
"""Bandwidth is not measured where its three arrays would take more than this share of the memory that is free."""

TENSOR_CORES_WITH_TF32 = (8, 0)
"""Compute capability from which on a device multiplies in TF32 and bfloat16 (CUDA C++ Programming Guide)."""


@dataclass(frozen=True)
class Work:
    """One way to reach a ceiling: what it is called, how much a call does (FLOP or B), and what makes the call ready.

    `prepare` allocates, and raises torch.OutOfMemoryError where it cannot.
    """

    name: str
    amount: float
    prepare: Callable[[], Callable[[int], object]]


@dataclass(frozen=True)
class Best:
    """The fastest way: its name and its rates, block by block."""

    name: str
    rates: tuple[float, ...]


def measure(device_name: str, seconds: float) -> dict[str, Any]:
    """Returns the ceilings of a device as plain data; each takes about so many seconds, however slow its format.

    One during which something else used the machine says so.
    """
    device = torch.device(device_name)
    clock = clock_for(device)
    cache = cache_bytes(device)
    found: list[Ceiling] = []

    def add(what: str, unit: str, works: Iterable[Work]) -> None:
        before = conditions.read()
        best = climb(works, clock, seconds)
        disturbed = [flag for flag in conditions.flags(before, conditions.read()) if flag.code in caveats.DISTURBED]
        if best is not None:
            words = "; ".join(f"{caveats.TABLE[flag.code].title}: {flag.detail}" for flag in disturbed)
            found.append(Ceiling(device_name, what, unit, best.rates, best.name, words))

    for name in formats(device):
        with _multiplying(device, name):
            add(name, "FLOP/s", products(device, name))
    add("bandwidth", "B/s", streams(device, cache))
    found.append(Ceiling(device_name, "cache", "B", (float(cache),), "all instances of the last level"))
    return {"ceilings": [{**vars(ceiling), "samples": list(ceiling.samples)} for ceiling in found]}


def climb(
    works: Iterable[Work], clock: Clock, seconds: float, now: Callable[[], float] = time.perf_counter
) -> Best | None:
    """Returns the way with the best median rate, None where not even the first one can be done.

    A way is tried only where the fastest block so far promises that its own end in time: the ways come in the order of
    their work, so a format without units of its own is measured on small ones. What time is left goes in turns to the
    ways that may still win, so that a disturbance falls on all of them. The first is always measured.
    """
    end = now() + seconds
    tried: list[_Tried] = []
    fastest = 0.0
    for work in works:
        if tried and CALLS * work.amount / fastest > end - now():
            continue
        try:
            call = work.prepare()
        except RuntimeError as error:  # a CPU has no kind of its own for it
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
            continue
        one = _Tried(work, call, _iterations(call, clock))
        for _ in range(MIN_SAMPLES):
            one.sample(clock)
        tried.append(one)
        fastest = max(fastest, *one.rates)
    leading = max((one.median for one in tried), default=0.0)
    contenders = [one for one in tried if max(one.rates) >= CONTENDER * leading]
    while contenders and now() < end:
        for one in contenders:
            one.sample(clock)
    best = max(contenders, key=lambda one: one.median, default=None)
    return None if best is None else Best(best.work.name, tuple(best.rates))


@dataclass
class _Tried:
    """A way that is being measured: so many calls a block, and its rates so far."""

    work: Work
    call: Callable[[int], object]
    iterations: int
    rates: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of its rates."""
        return median(self.rates)

    def sample(self, clock: Clock) -> None:
        """Adds the rate of one more block."""
        self.rates.append(self.work.amount / clock.block(self.call, 0, self.iterations))


def _iterations(call: Callable[[int], object], clock: Clock) -> int:
    """Returns how many calls a block must have, once the call is warm."""
    iterations = 1
    clock.block(call, 0, iterations)
    while True:
        wanted = math.ceil(clock.least_block / max(clock.block(call, 0, iterations), 1e-9))
        if wanted <= iterations:
            return iterations
        iterations = wanted


def formats(device: torch.device) -> tuple[str, ...]:
    """Returns the number formats that have units, or at least kernels, on a device."""
    if device.type != "cuda":
        return ("float32", "bfloat16", "float16")
    if torch.cuda.get_device_capability(device) >= TENSOR_CORES_WITH_TF32:
        return ("float32", "tf32", "bfloat16", "float16")
    return ("float32", "float16")


@contextmanager
def _multiplying(device: torch.device, name: str) -> Iterator[None]:
    """Lets a CUDA device multiply float32 in TF32 for that format, and exactly for any other; a CPU stays as it is."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def products(device: torch.device, name: str) -> Iterator[Work]:
    """Yields the matrix products of a number format, 2 FLOP per multiply-add."""
    dtype = getattr(torch, "float32" if name == "tf32" else name)

    def prepare(m: int, n: int, k: int) -> Callable[[int], object]:
        x_MK, w_KN = (torch.randn(shape, device=device).to(dtype) for shape in ((m, k), (k, n)))
        y_MN = torch.empty((m, n), device=device, dtype=dtype)
        return torch.inference_mode()(lambda _turn: torch.mm(x_MK, w_KN, out=y_MN))

    for m, n, k in SHAPES[device.type]:
        yield Work(f"{m} x {n} x {k}", 2.0 * m * n * k, lambda m=m, n=n, k=k: prepare(m, n, k))  # type: ignore[misc]


def streams(device: torch.device, cache: int, free: int | None = None) -> Iterator[Work]:
    """Yields ways to move memory: a sum reads, a copy reads and writes, a triad reads two arrays and writes a third.

    Yields none where the arrays are too large for the memory that is free.
    """
    size = max(CACHES * cache, LEAST_ARRAY) // 4
    free = _free_bytes(device) if free is None else free
    if 3 * 4 * size > MEMORY_SHARE * free:
        return

    @once
    def arrays() -> tuple[torch.Tensor, ...]:
        return tuple(torch.ones(size, device=device) for _ in range(3))

    def total() -> Callable[[int], object]:
        _, b, _ = arrays()
        return lambda _turn: b.sum()

    def copy() -> Callable[[int], object]:
        a, b, _ = arrays()
        return lambda _turn: a.copy_(b)

    def triad() -> Callable[[int], object]:
        a, b, c = arrays()
        return lambda _turn: torch.add(b, c, alpha=3.0, out=a)

    for name, moved, prepare in (("sum", 1, total), ("copy", 2, copy), ("triad", 3, triad)):
        yield Work(f"{name} of {size * 4 / 2**20:.0f} MiB arrays", 4.0 * size * moved, prepare)


def cache_bytes(device: torch.device, root: Path = Path("/sys/devices/system/cpu")) -> int:
    """Returns the size of the caches closest to memory: the L2 of a GPU, all instances of a CPU's last level.

    A processor of several dies has a last cache on each, and a layer's threads use them all.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size)
    largest = last_cache_bytes(root / "cpu0" / "cache")
    shared = set()
    for path in root.glob("cpu[0-9]*/cache"):
        if last_cache_bytes(path) == largest:
            lists = [index / "shared_cpu_list" for index in sorted(path.glob("index*"))]
            shared |= {lists[-1].read_text(encoding="ascii").strip()} if lists and lists[-1].exists() else set()
    return largest * max(1, len(shared))


def _free_bytes(device: torch.device) -> int:
    """Returns how much memory a device has to give."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    _, limit = cgroup_limits()
    available = int(psutil.virtual_memory().available)
    return available if limit is None else min(available, limit)
