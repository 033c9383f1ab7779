"""The GPUs of this machine as NVML describes them; NVML is a parameter, so that a test brings its own GPU."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bench.environment import GIB, Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# CUDA C++ Programming Guide, throughput of arithmetic instructions: 32-bit floating-point lanes of one SM
_LANES_64, _LANES_128 = ("6.0", "7.0", "7.2", "7.5", "8.0"), ("6.1", "6.2", "8.6", "8.7", "8.9")
CLOCK_SM, CLOCK_MEMORY = 1, 2
"""NVML's numbers of the clocks of the multiprocessors and of the memory (nvmlClockType_t)."""
_PROCESSES = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses")
_REASONS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")  # new name, old name


class Nvml(Protocol):
    """What is used of the pynvml module: its functions by their NVML names. A fake may have only some of them."""

    NVMLError: type[Exception]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The NVML function of that name."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as NVML describes it, in base units; None is what this device or driver does not tell.

    `clock_reasons` is whether it says why its clocks are lower than they could be. `other_processes` are the ids of
    processes on it other than this one, as the driver's host numbers them.
    """

    index: int
    uuid: str | None = None
    name: str | None = None
    memory_bytes: int | None = None
    driver: str | None = None
    compute_capability: str | None = None
    sm_count: int | None = None
    clock_hz: float | None = None
    max_clock_hz: float | None = None
    power_limit_w: float | None = None
    energy_counter: bool = False
    clock_reasons: bool = False
    mig_enabled: bool | None = None
    other_processes: tuple[int, ...] | None = None

    def comparable_facts(self) -> dict[str, Fact]:
        """What must agree for two runs on a GPU to be compared; memory to whole GiB, only the driver's major."""
        return {
            "gpu": self.name,
            "gpu_memory_bytes": None if self.memory_bytes is None else round(self.memory_bytes / GIB) * GIB,
            "gpu_sm_count": self.sm_count,
            "gpu_compute_capability": self.compute_capability,
            "gpu_driver_major": None if self.driver is None else self.driver.partition(".")[0],
        }


def gpus(nvml: Nvml | None = None) -> list[Gpu]:
    """The GPUs of this machine; empty where there is none or NVML is missing, and `nvml_status` says why."""
    with session(nvml) as (library, _):
        if library is None:
            return []
        return [_gpu(library, index) for index in range(ask(library, "nvmlDeviceGetCount") or 0)]


def used_first(found: Sequence[Gpu], uuid: str | None) -> list[Gpu]:
    """The GPUs with the one of that UUID before all others; it may come without NVML's prefix, as CUDA gives it.

    CUDA_VISIBLE_DEVICES and the order in which CUDA counts make its first device another one than NVML's.
    """
    return sorted(found, key=lambda gpu: uuid is None or gpu.uuid is None or not gpu.uuid.endswith(uuid))


def nvml_status(nvml: Nvml | None = None) -> str:
    """The word "ok", or why no GPU can be read."""
    with session(nvml) as (library, reason):
        if library is None:
            return reason
        return "ok" if ask(library, "nvmlDeviceGetCount") else "the NVIDIA driver sees no GPU"


@contextmanager
def session(nvml: Nvml | None) -> Iterator[tuple[Nvml | None, str]]:
    """NVML between its init and shutdown, or None and the reason."""
    if nvml is None:
        try:
            import pynvml  # noqa: PLC0415 - only where a GPU is asked for
        except ImportError:
            yield None, "the Python bindings of NVML are missing (pip install nvidia-ml-py)"
            return
        nvml = pynvml
    try:
        nvml.nvmlInit()
    except (nvml.NVMLError, OSError) as error:
        yield None, f"NVML cannot start: {error}"
        return
    try:
        yield nvml, ""
    finally:
        ask(nvml, "nvmlShutdown")


def ask(nvml: Nvml, function: str, *arguments: object) -> Any:  # noqa: ANN401 - NVML answers with many types
    """NVML's answer, or None where this device, driver or binding does not know the question."""
    try:
        answer = getattr(nvml, function)(*arguments)
    except (nvml.NVMLError, AttributeError):
        return None
    return answer.decode() if isinstance(answer, bytes) else answer


def find(nvml: Nvml, uuid: str) -> tuple[Any, Any] | None:
    """Handles of the device with that UUID and of the MIG slice on it, twice the same without slices; None: not there.

    An index would not do: CUDA_VISIBLE_DEVICES numbers devices anew. The UUID may come without NVML's prefix, as CUDA
    gives it.
    """
    for kind in ("GPU", "MIG"):
        slice_or_device = ask(nvml, "nvmlDeviceGetHandleByUUID", uuid if uuid.startswith(kind) else f"{kind}-{uuid}")
        if slice_or_device is not None:
            parent = ask(nvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", slice_or_device)
            return (slice_or_device if parent is None else parent), slice_or_device
    return None


def processes(nvml: Nvml, handle: object) -> frozenset[int] | None:
    """Ids of the processes on a device or slice, as the driver's host numbers them; None where it does not tell."""
    lists = [found for function in _PROCESSES if (found := ask(nvml, function, handle)) is not None]
    return frozenset(process.pid for found in lists for process in found) if lists else None


def holders(nvml: Nvml | None = None) -> frozenset[int] | None:
    """Ids of the processes on any GPU of this machine; None where none can be asked."""
    with session(nvml) as (library, _):
        if library is None:
            return None
        handles = [
            handle
            for index in range(ask(library, "nvmlDeviceGetCount") or 0)
            if (handle := ask(library, "nvmlDeviceGetHandleByIndex", index)) is not None
        ]
        found = [pids for handle in handles if (pids := processes(library, handle)) is not None]
        return frozenset().union(*found) if found else None


def clock_reasons(nvml: Nvml, handle: object) -> int | None:
    """The bits of why the clocks are not higher (nvmlClocksEventReasons), None where the device does not tell."""
    answers = (ask(nvml, function, handle) for function in _REASONS)
    return next((bits for bits in answers if bits is not None), None)


def _gpu(nvml: Nvml, index: int) -> Gpu:
    handle = ask(nvml, "nvmlDeviceGetHandleByIndex", index)
    if handle is None:
        return Gpu(index)
    memory = ask(nvml, "nvmlDeviceGetMemoryInfo", handle)
    version = ask(nvml, "nvmlDeviceGetCudaComputeCapability", handle)
    capability = None if version is None else ".".join(str(part) for part in version)
    clock = ask(nvml, "nvmlDeviceGetClockInfo", handle, CLOCK_SM)
    max_clock = ask(nvml, "nvmlDeviceGetMaxClockInfo", handle, CLOCK_SM)
    milliwatts = ask(nvml, "nvmlDeviceGetEnforcedPowerLimit", handle)
    mig = ask(nvml, "nvmlDeviceGetMigMode", handle)
    pids = processes(nvml, handle)
    return Gpu(
        index,
        uuid=ask(nvml, "nvmlDeviceGetUUID", handle),
        name=ask(nvml, "nvmlDeviceGetName", handle),
        memory_bytes=None if memory is None else int(memory.total),
        driver=ask(nvml, "nvmlSystemGetDriverVersion"),
        compute_capability=capability,
        sm_count=sm_count(ask(nvml, "nvmlDeviceGetNumGpuCores", handle), capability),
        clock_hz=None if clock is None else clock * 1e6,
        max_clock_hz=None if max_clock is None else max_clock * 1e6,
        power_limit_w=None if milliwatts is None else milliwatts / 1e3,
        energy_counter=ask(nvml, "nvmlDeviceGetTotalEnergyConsumption", handle) is not None,
        mig_enabled=None if mig is None else bool(mig[0]),
        clock_reasons=clock_reasons(nvml, handle) is not None,
        other_processes=None if pids is None else tuple(sorted(pids - {os.getpid()})),
    )


def sm_count(cores: int | None, compute_capability: str | None) -> int | None:
    """Streaming multiprocessors: NVML counts 32-bit lanes, an architecture has 64 or 128 of them in each; else None."""
    if cores is None or compute_capability is None:
        return None
    if compute_capability in _LANES_64:
        return cores // 64
    newer = float(compute_capability) >= 9.0
    return cores // 128 if newer or compute_capability in _LANES_128 else None
