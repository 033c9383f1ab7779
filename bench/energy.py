"""Counters of energy: joules since some fixed moment, of a whole GPU or of all processor packages.

An energy is the difference of two readings. A counter moves in steps, from a millisecond (RAPL) to a tenth of a second
(NVML), so that whoever reads it measures from one step to another. Where nothing counts there is no counter, not zero.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from bench import gpus
from bench.environment import ROOT, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.gpus import Nvml

POWERCAP = "sys/class/powercap"


class Counter(Protocol):
    """Counts the joules of a device; `name` says which, for whoever reads the figure."""

    name: str

    def joules(self) -> float | None:
        """Returns joules since some fixed moment, None where the count cannot be read."""


class NvmlCounter:
    """The driver's count of a whole GPU (Volta and later)."""

    name = "NVML total energy of the GPU"

    def __init__(self, nvml: Nvml, handle: object) -> None:
        self._nvml, self._handle = nvml, handle

    def joules(self) -> float | None:
        """Returns joules since the driver was loaded."""
        millijoules: int | None = gpus.ask(self._nvml, "nvmlDeviceGetTotalEnergyConsumption", self._handle)
        return None if millijoules is None else millijoules / 1e3


class RaplCounter:
    """The processors' own count (running average power limit): the sum over their packages, memory not included.

    Each package counts to a limit of its own and then begins anew, within minutes at full power; so readings must not
    lie further apart. Linux lets only root read it since it told secrets (CVE-2020-8694).
    """

    name = "RAPL energy of the processor packages"

    def __init__(self, root: Path = ROOT) -> None:
        self._zones = [zone for zone in sorted((root / POWERCAP).glob("intel-rapl:*")) if _is_package(zone)]
        self._last: list[int] | None = None
        self._microjoules = 0

    def joules(self) -> float | None:
        """Returns joules since the first reading."""
        texts = [read(zone, "energy_uj") for zone in self._zones]
        if not texts or not all(text.isdigit() for text in texts):
            return None
        counts = [int(text) for text in texts]
        for zone, before, after in zip(self._zones, self._last or counts, counts, strict=True):
            limit = read(zone, "max_energy_range_uj")
            if after < before and not limit.isdigit():
                return None
            self._microjoules += after - before if after >= before else after + int(limit) - before
        self._last = counts
        return self._microjoules / 1e6


def _is_package(zone: Path) -> bool:
    """Returns whether a zone is a processor package; cores are parts of one, psys is more than all of them."""
    return read(zone, "name").startswith("package")


@contextmanager
def gpu_counter(uuid: str, nvml: Nvml | None = None) -> Iterator[Counter | None]:
    """Gives the counter of a device while a block lasts; None where there is none, or where slices share it (MIG)."""
    with gpus.session(nvml) as (library, _):
        handles = None if library is None else gpus.find(library, uuid)
        if library is None or handles is None:
            yield None
            return
        device, own = handles
        sliced = own is not device or (gpus.ask(library, "nvmlDeviceGetMigMode", device) or [0])[0]
        counter = NvmlCounter(library, device)
        yield None if sliced or counter.joules() is None else counter


def cpu_counter(root: Path = ROOT) -> Counter | None:
    """Returns the counter of the processors, None where there is none or it may not be read."""
    counter = RaplCounter(root)
    return None if counter.joules() is None else counter
