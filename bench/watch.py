"""A GPU watched while something is measured on it: NVML is read beside the measurement, by a thread.

A reading takes a millisecond or so, far too long to take one for each sample; `bench.readings` says what they mean.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bench import gpus
from bench.gpus import ask
from bench.readings import Reading, Watched, decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.gpus import Nvml

INTERVAL = 0.05
"""Seconds between two readings."""

PROCESSES_EVERY = 10
"""Readings from one look at the processes to the next: the list takes longer than all the rest."""

_SENSOR = 0  # NVML_TEMPERATURE_GPU


@dataclass(frozen=True, slots=True)
class _Device:
    """A device that NVML can be asked about; `slice` is the MIG slice on it, or the device itself."""

    nvml: Nvml
    device: object
    slice: object

    def max_clock_hz(self) -> float | None:
        """Returns the highest SM clock."""
        return _scaled(ask(self.nvml, "nvmlDeviceGetMaxClockInfo", self.device, gpus.CLOCK_SM), 1e6)

    def processes(self) -> frozenset[int] | None:
        """Returns the processes on the slice, for a slice is not shared with those of others."""
        return gpus.processes(self.nvml, self.slice)

    def reading(self, at: float, processes: frozenset[int] | None) -> Reading:
        """Returns what the device says now; clocks, heat and power are of the whole device."""
        bits = gpus.clock_reasons(self.nvml, self.device)
        return Reading(
            at=at,
            sm_clock_hz=_scaled(ask(self.nvml, "nvmlDeviceGetClockInfo", self.device, gpus.CLOCK_SM), 1e6),
            memory_clock_hz=_scaled(ask(self.nvml, "nvmlDeviceGetClockInfo", self.device, gpus.CLOCK_MEMORY), 1e6),
            temperature_c=_scaled(ask(self.nvml, "nvmlDeviceGetTemperature", self.device, _SENSOR), 1.0),
            power_w=_scaled(ask(self.nvml, "nvmlDeviceGetPowerUsage", self.device), 1e-3),
            reasons=None if bits is None else decode(bits),
            processes=processes,
        )


class GpuWatch:
    """Reads a device at the start, every `interval` seconds in a thread of its own, and at the end.

    Without a UUID, NVML or such a device it watches nothing, and what the device does not tell is None: the
    measurement beside it never fails by it.
    """

    def __init__(
        self,
        uuid: str | None,
        *,
        before: frozenset[int] | None = None,
        nvml: Nvml | None = None,
        interval: float = INTERVAL,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._uuid, self._before, self._nvml, self._interval, self._now = uuid, before, nvml, interval, now
        self._readings: list[Reading] = []
        self._device: _Device | None = None
        self._max_clock_hz: float | None = None
        self._session = ExitStack()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-watch", daemon=True)

    def __enter__(self) -> Self:
        if self._uuid is None:
            return self
        nvml, _ = self._session.enter_context(gpus.session(self._nvml))
        handles = None if nvml is None else gpus.find(nvml, self._uuid)
        if nvml is not None and handles is not None:
            self._device = _Device(nvml, *handles)
            self._max_clock_hz = self._device.max_clock_hz()
            self.read_once(look=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._device is not None:
            self._thread.join()
            self.read_once(look=True)
        self._session.close()

    @property
    def watched(self) -> Watched:
        """What has been read so far; nothing where there is no device to read."""
        return Watched(tuple(self._readings), self._max_clock_hz, self._before, os.getpid())

    def read_once(self, *, look: bool = False) -> None:
        """Takes one reading, with a look at the processes every tenth time or when told to."""
        if self._device is None:
            return
        if look or len(self._readings) % PROCESSES_EVERY == 0:
            processes = self._device.processes()
        else:
            processes = self._readings[-1].processes
        self._readings.append(self._device.reading(self._now(), processes))

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self.read_once()


def _scaled(value: float | None, factor: float) -> float | None:
    """Returns NVML's number in the base unit."""
    return None if value is None else value * factor
