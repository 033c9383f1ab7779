"""Machines that are not here: a root folder with its own /proc and /sys, and a GPU that answers as NVML does."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

EPYC = """\
processor\t: {index}
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD  EPYC
cpu MHz\t\t: 2596.124
physical id\t: 0
core id\t\t: {core}
flags\t\t: fpu sse2 hypervisor avx avx2 avx512f

"""
FOUR_THREADS = "".join(EPYC.format(index=index, core=index // 2) for index in range(4))
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd40\n"
MEMINFO = """\
MemTotal:       24684084 kB
MemAvailable:   24252436 kB
SwapTotal:          1024 kB
SwapFree:           1024 kB
HugePages_Total:       0
"""
QUIET = {
    "proc/cpuinfo": FOUR_THREADS.replace("hypervisor ", ""),
    "proc/meminfo": MEMINFO,
    "proc/loadavg": "0.08 0.10 0.07 2/83 4884\n",
    "proc/self/cgroup": "0::/user.slice\n",
    "proc/self/status": "VmHWM:\t 900 kB\nVmRSS:\t 800 kB\n",
    "proc/self/clear_refs": "",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "3100000\n",
    "sys/devices/system/cpu/cpufreq/boost": "0\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
}
GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
BOOST = "sys/devices/system/cpu/cpufreq/boost"


MakeMachine = Callable[..., Path]


class NvmlError(Exception):
    pass


def machine_in(tmp_path: Path) -> MakeMachine:
    """Returns what writes a root folder: a quiet machine, changed by the files given; None takes one away."""

    def write(changed: dict[str, str | None] | None = None) -> Path:
        for name, text in (QUIET | (changed or {})).items():
            if text is not None:
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return tmp_path

    return write


def fake_nvml(**changed: Callable[..., object] | None) -> SimpleNamespace:
    """The answers of one H200; a function given as None refuses, as on a device that does not support it."""

    def refuse(*_: object) -> None:
        raise NvmlError("Not Supported")

    functions = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: f"handle {index}",
        "nvmlDeviceGetName": lambda _: "NVIDIA H200",
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=150_754_820_096, used=1, free=2),
        "nvmlSystemGetDriverVersion": lambda: "570.86.15",
        "nvmlDeviceGetCudaComputeCapability": lambda _: (9, 0),
        "nvmlDeviceGetNumGpuCores": lambda _: 16_896,
        "nvmlDeviceGetClockInfo": lambda _, clock: {1: 345}[clock],
        "nvmlDeviceGetMaxClockInfo": lambda _, clock: {1: 1980}[clock],
        "nvmlDeviceGetEnforcedPowerLimit": lambda _: 700_000,
        "nvmlDeviceGetTotalEnergyConsumption": lambda _: 0,
        "nvmlDeviceGetMigMode": lambda _: [0, 0],
        "nvmlDeviceGetComputeRunningProcesses": lambda _: [SimpleNamespace(pid=os.getpid())],
        "nvmlDeviceGetGraphicsRunningProcesses": lambda _: [],
    }
    functions |= {name: refuse if function is None else function for name, function in changed.items()}
    return SimpleNamespace(NVMLError=NvmlError, **functions)


def no_driver() -> SimpleNamespace:
    def refuse() -> None:
        raise NvmlError("Driver Not Loaded")

    return SimpleNamespace(NVMLError=NvmlError, nvmlInit=refuse)
