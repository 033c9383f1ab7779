"""What can be measured on this machine, and what cannot and why: the findings of `softmoe-bench doctor`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.energy import POWERCAP, cpu_counter
from bench.environment import (
    ROOT,
    TURBO_SWITCHES,
    batteries,
    cgroup_limits,
    governor,
    huge_pages,
    parse_meminfo,
    read,
    swap_used,
    turbo,
    usable_cores,
    virtual_machine,
)
from bench.gpus import Gpu, Nvml, gpus, nvml_status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BUSY_LOAD = 1.0
"""Load average at which something else uses a whole core."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that measurements depend on: whether it is as it should be, what was found, what to do (or "")."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


def measurable(root: Path = ROOT, nvml: Nvml | None = None) -> list[Finding]:
    """What can be measured here and what spoils it, always the same findings in the same order.

    It resets the high-water mark of this process' memory, which is how it finds out whether that works.
    """
    on_files = (
        _governor, _turbo_switch, _quota, _load, _swap, _battery, _huge_page_mode, _memory_reading, _memory_peak_reset,
        _cpu_energy,
    )  # fmt: skip
    found = gpus(nvml)
    on_gpus = (_gpu_present(found, nvml), _gpu_energy(found), _gpu_clock_reasons(found), _gpu_processes(found))
    return [*(finding(root) for finding in on_files), *on_gpus]


def _good(name: str, detail: str) -> Finding:
    return Finding(name, ok=True, detail=detail)


def _bad(name: str, detail: str, hint: str) -> Finding:
    return Finding(name, ok=False, detail=detail, hint=hint)


def _governor(root: Path) -> Finding:
    found = governor(root)
    if found == "performance":
        return _good("cpu_governor", "governor performance")
    if found is not None:
        hint = "the clock follows the load: sudo cpupower frequency-set --governor performance"
        return _bad("cpu_governor", f"governor {found}", hint)
    why = "a virtual machine hides it" if virtual_machine(root) else "the kernel shows no cpufreq"
    hint = "the clock may change unseen: take more repeats"
    return _bad("cpu_governor", f"cannot be read: {why}", hint)


def _turbo_switch(root: Path) -> Finding:
    state = turbo(root)
    if state == "off":
        return _good("cpu_turbo", "boost is off")
    if state is None:
        hint = "the clock may depend on temperature and neighbours: take more repeats"
        return _bad("cpu_turbo", "cannot be read: no boost switch is shown here", hint)
    path, off = next((path, words["off"]) for path, words in TURBO_SWITCHES if read(root, path) == words["on"])
    return _bad(
        "cpu_turbo", "boost is on", f"the clock depends on temperature; steadier: echo {off} | sudo tee /{path}"
    )


def _quota(root: Path) -> Finding:
    quota, cores = cgroup_limits(root)[0], usable_cores() or 1
    if quota is None:
        return _good("cpu_quota", f"no limit on the time of {cores} usable cores")
    detail = f"a control group allows {quota:g} cores' worth of time on {cores} usable cores"
    hint = f"threads are stopped in the middle of a sample: use --set threads={max(1, int(quota))}, or lift the quota"
    return _good("cpu_quota", detail) if quota >= cores else _bad("cpu_quota", detail, hint)


def _load(root: Path) -> Finding:
    fields = read(root, "proc/loadavg").split()
    if not fields:
        return _bad("load", "cannot be read: no /proc/loadavg", "look by hand that nothing else runs")
    detail = f"load average {fields[0]} over the last minute"
    if float(fields[0]) < BUSY_LOAD:
        return _good("load", detail)
    return _bad("load", detail, "something else is running: stop it, or wait a minute until the average falls")


def _swap(root: Path) -> Finding:
    used = swap_used(parse_meminfo(read(root, "proc/meminfo")))
    if used is None:
        hint = "watch by hand that nothing is swapped while it runs"
        return _bad("swap", "cannot be read: no swap sizes in /proc/meminfo", hint)
    if used == 0:
        return _good("swap", "none used")
    hint = "memory figures miss what is swapped out: free memory, then sudo swapoff -a"
    return _bad("swap", f"{used / 2**20:.0f} MiB swapped out", hint)


def _battery(root: Path) -> Finding:
    states = batteries(root)
    if "discharging" in states:
        return _bad("battery", "discharging", "a laptop on battery lowers its clock: plug it in")
    return _good("battery", ", ".join(states) or "no battery")


def _huge_page_mode(root: Path) -> Finding:
    name, mode = "transparent_huge_pages", huge_pages(root)
    if mode == "always":
        hint = "resident memory grows in steps of 2 MiB: "
        return _bad(name, "mode always", f"{hint}echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled")
    return _good(name, "this kernel has none" if mode is None else f"mode {mode}")


def _memory_reading(root: Path) -> Finding:
    status = read(root, "proc/self/status")
    missing = [name for name in ("VmRSS", "VmHWM") if f"{name}:" not in status]
    if missing:
        detail = f"cannot be read: no {' and '.join(missing)} in /proc/self/status"
        return _bad("memory_reading", detail, "CPU memory metrics stay empty: run on a Linux that shows them")
    return _good("memory_reading", "resident memory and its peak are readable")


def _memory_peak_reset(root: Path) -> Finding:
    try:
        file = os.open(root / "proc/self/clear_refs", os.O_WRONLY)  # open() would need "w", which makes missing files
        try:
            os.write(file, b"5")  # proc(5): 5 resets the peak of the resident set
        finally:
            os.close(file)
    except OSError as error:
        detail = f"cannot be reset: /proc/self/clear_refs cannot be written ({error.strerror})"
        return _bad("memory_peak_reset", detail, "CPU peaks include start-up; a container may need a writable /proc")
    return _good("memory_peak_reset", "the peak of resident memory can be reset")


def _cpu_energy(root: Path) -> Finding:
    if cpu_counter(root) is not None:
        return _good("cpu_energy", "energy counter of the processor packages readable")
    if (root / POWERCAP).is_dir() and any((root / POWERCAP).glob("intel-rapl:*")):
        hint = f"energy metrics on cpu stay empty: only root may read it; sudo chmod a+r /{POWERCAP}/*/energy_uj"
        return _bad("cpu_energy", f"/{POWERCAP} may not be read", hint)
    why = "a virtual machine hides it" if virtual_machine(root) else f"no processor package in /{POWERCAP}"
    return _bad("cpu_energy", f"no energy counter: {why}", "energy metrics on cpu stay empty")


def _gpu_present(found: Sequence[Gpu], nvml: Nvml | None) -> Finding:
    if found:
        return _good("gpu", ", ".join(f"{gpu.index}: {gpu.name or 'unreadable'}" for gpu in found))
    hint = "cases on cuda cannot run; for a GPU install the NVIDIA driver and pass the device into the container"
    return _bad("gpu", nvml_status(nvml), hint)


def _gpu_energy(found: Sequence[Gpu]) -> Finding:
    if not found:
        return _bad("gpu_energy", "no GPU, no energy counter", "energy metrics on cuda stay empty")
    if sliced := [gpu.index for gpu in found if gpu.mig_enabled]:
        hint = "the counter is of the whole device, not of one slice: do not read it as this process' energy"
        return _bad("gpu_energy", f"GPU {_list(sliced)} is cut into MIG slices", hint)
    if silent := [gpu.index for gpu in found if not gpu.energy_counter]:
        hint = "energy metrics on cuda stay empty: the counter needs Volta or later, and a hypervisor may hide it"
        return _bad("gpu_energy", f"GPU {_list(silent)} shows no energy counter", hint)
    return _good("gpu_energy", "energy counter readable")


def _gpu_clock_reasons(found: Sequence[Gpu]) -> Finding:
    if silent := [gpu.index for gpu in found if not gpu.clock_reasons]:
        hint = "a GPU that slows down from heat or power limits goes unseen: watch its clock with nvidia-smi dmon"
        return _bad("gpu_clock_reasons", f"GPU {_list(silent)} does not say why its clocks are low", hint)
    return _good("gpu_clock_reasons", "throttling can be seen" if found else "no GPU to throttle")


def _gpu_processes(found: Sequence[Gpu]) -> Finding:
    if busy := [f"GPU {gpu.index}: {_list(gpu.other_processes)}" for gpu in found if gpu.other_processes]:
        return _bad("gpu_processes", f"other processes on {'; '.join(busy)}", "stop them, or take another GPU")
    if unknown := [gpu.index for gpu in found if gpu.other_processes is None]:
        hint = "look with nvidia-smi on the host that nobody else uses it"
        return _bad("gpu_processes", f"cannot be read on GPU {_list(unknown)}", hint)
    return _good("gpu_processes", "no other process" if found else "no GPU to share")


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)
