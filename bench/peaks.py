"""What data sheets promise of a device: dense FLOP/s per number format and bytes per second, from `peaks.toml`.

A device is known by its name together with its multiprocessors and its memory, because names lie: "L40S" contains "L4",
and H100 is three different devices. One that is not in the table has no peak, never that of another.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE = Path(__file__).with_name("peaks.toml")
GIB = 2**30
LEAST_MEMORY, MOST_MEMORY = 0.9, 1.01
"""A driver reports this share of the nominal memory: error correction takes a sixteenth of GDDR6."""

TF32_PRECISIONS = ("high", "medium")
"""Settings of torch.set_float32_matmul_precision with which a CUDA device multiplies float32 in TF32."""


@dataclass(frozen=True)
class Peak:
    """A device of the table: how to know it, FLOP/s by number format, bytes per second, and who says so."""

    title: str
    name: str
    sm_count: int
    memory_gib: float
    flops_per_s: Mapping[str, float]
    bandwidth: float
    source: str
    date: str
    with_sparsity: Mapping[str, float] = field(default_factory=dict)

    def fits(self, name: str, sm_count: int, memory_bytes: float) -> bool:
        """Returns whether a driver's words describe this device."""
        share = memory_bytes / GIB / self.memory_gib
        same = re.fullmatch(self.name, name.strip()) is not None
        return same and sm_count == self.sm_count and LEAST_MEMORY <= share <= MOST_MEMORY


@cache
def table() -> tuple[Peak, ...]:
    """Returns every device whose peaks are known."""
    devices = tomllib.loads(TABLE.read_text(encoding="utf-8"))["device"]
    return tuple(Peak(**device) for device in devices)


def find(name: str | None, sm_count: int | None, memory_bytes: float | None) -> Peak | None:
    """Returns the peaks of a device, None where it is unknown or a part of what identifies it is."""
    if name is None or sm_count is None or memory_bytes is None:
        return None
    return next((peak for peak in table() if peak.fits(name, sm_count, memory_bytes)), None)


def of_machine(comparable: Mapping[str, Any]) -> Peak | None:
    """Returns the peaks of the GPU that a run's comparable facts name."""
    return find(comparable.get("gpu"), comparable.get("gpu_sm_count"), comparable.get("gpu_memory_bytes"))


def number_format(dtype: str, device: str, comparable: Mapping[str, Any]) -> str:
    """Returns what a dtype is multiplied in: itself, or tf32 for float32 on a CUDA device that is allowed to."""
    allowed = comparable.get("tf32") is True or comparable.get("float32_matmul_precision") in TF32_PRECISIONS
    return "tf32" if (dtype, device) == ("float32", "cuda") and allowed else dtype
