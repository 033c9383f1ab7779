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
    "proc/stat": "cpu  900 100 400 5000 30 20 10 0 200 0\ncpu0 900 100 400 5000 30 20 10 0 200 0\n",
    "proc/vmstat": "pgpgin 77\npswpin 3\npswpout 4\n",
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "5000000\n",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
}
GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
BOOST = "sys/devices/system/cpu/cpufreq/boost"


UUID = "GPU-5a1b6e0c-0000-4c1d-9a7e-3f2f0c9d8e71"
"""Of the fake GPU, as NVML writes it; CUDA leaves the prefix away."""

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

    def find(uuid: str) -> str:
        if uuid != UUID:
            raise NvmlError("Not Found")
        return "handle 0"

    functions = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: f"handle {index}",
        "nvmlDeviceGetHandleByUUID": find,
        "nvmlDeviceGetUUID": lambda _: "GPU-6f2d",
        "nvmlDeviceGetName": lambda _: "NVIDIA H200",
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=150_754_820_096, used=1, free=2),
        "nvmlSystemGetDriverVersion": lambda: "570.86.15",
        "nvmlDeviceGetCudaComputeCapability": lambda _: (9, 0),
        "nvmlDeviceGetNumGpuCores": lambda _: 16_896,
        "nvmlDeviceGetClockInfo": lambda _, clock: {1: 345, 2: 3201}[clock],
        "nvmlDeviceGetMaxClockInfo": lambda _, clock: {1: 1980}[clock],
        "nvmlDeviceGetEnforcedPowerLimit": lambda _: 700_000,
        "nvmlDeviceGetTotalEnergyConsumption": lambda _: 0,
        "nvmlDeviceGetPowerUsage": lambda _: 112_500,
        "nvmlDeviceGetTemperature": lambda _, sensor: {0: 41}[sensor],
        "nvmlDeviceGetCurrentClocksEventReasons": lambda _: 0x1,
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
