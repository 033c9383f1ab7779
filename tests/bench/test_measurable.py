"""Findings on machines that are not here: every test brings its own /proc, /sys and GPU."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from machines import BOOST, FOUR_THREADS, GOVERNOR, MakeMachine, fake_nvml, machine_in, no_driver

from bench.measurable import Finding, measurable


@pytest.fixture
def machine(tmp_path: Path) -> MakeMachine:
    return machine_in(tmp_path)


def finding(name: str, root: Path, nvml: SimpleNamespace | None = None) -> Finding:
    return next(found for found in measurable(root, nvml or no_driver()) if found.name == name)


def test_a_quiet_machine_with_a_gpu_has_nothing_to_mend(machine: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    findings = measurable(machine(), fake_nvml())
    assert [found for found in findings if not found.ok or found.hint] == []
    assert [found.name for found in findings] == [
        "cpu_governor",
        "cpu_turbo",
        "cpu_quota",
        "load",
        "swap",
        "battery",
        "transparent_huge_pages",
        "memory_reading",
        "memory_peak_reset",
        "cpu_energy",
        "gpu",
        "gpu_energy",
        "gpu_clock_reasons",
        "gpu_processes",
    ]


QUOTA = {"sys/fs/cgroup/user.slice/cpu.max": "150000 100000"}
RAPL = "sys/class/powercap/intel-rapl:0/energy_uj"
NO_RAPL = dict.fromkeys(RAPL.replace("energy_uj", name) for name in ("name", "energy_uj", "max_energy_range_uj"))
DISCHARGING = {"sys/class/power_supply/BAT0/type": "Battery", "sys/class/power_supply/BAT0/status": "Discharging"}


@pytest.mark.parametrize(
    ("name", "files", "detail", "hint"),
    [
        ("cpu_governor", {GOVERNOR: "powersave"}, "governor powersave", "--governor performance"),
        ("cpu_governor", {GOVERNOR: None}, "the kernel shows no cpufreq", "more repeats"),
        (
            "cpu_governor",
            {GOVERNOR: None, "proc/cpuinfo": FOUR_THREADS},
            "a virtual machine hides it",
            "take more repeats",
        ),
        ("cpu_turbo", {BOOST: "1"}, "boost is on", f"echo 0 | sudo tee /{BOOST}"),
        (
            "cpu_turbo",
            {BOOST: None, "sys/devices/system/cpu/intel_pstate/no_turbo": "0"},
            "boost is on",
            "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo",
        ),
        ("cpu_turbo", {BOOST: None}, "cannot be read", "more repeats"),
        ("cpu_quota", QUOTA, "allows 1.5 cores' worth of time on 2 usable cores", "threads=1"),
        ("load", {"proc/loadavg": "3.20 1.0 1.0 1/2 3"}, "load average 3.20", "stop it"),
        ("load", {"proc/loadavg": None}, "cannot be read", "by hand"),
        ("swap", {"proc/meminfo": "SwapTotal: 4096 kB\nSwapFree: 1024 kB\n"}, "3 MiB swapped out", "swapoff"),
        ("swap", {"proc/meminfo": "MemTotal: 4096 kB\n"}, "cannot be read", "by hand"),
        ("battery", DISCHARGING, "discharging", "plug it in"),
        (
            "transparent_huge_pages",
            {"sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never"},
            "mode always",
            "echo madvise",
        ),
        ("memory_reading", {"proc/self/status": "VmRSS: 1 kB"}, "no VmHWM in", "stay empty"),
        ("memory_peak_reset", {"proc/self/clear_refs": None}, "No such file", "include start-up"),
        ("cpu_energy", {RAPL: None}, "/sys/class/powercap may not be read", "chmod a+r"),
        ("cpu_energy", NO_RAPL, "no processor package in /sys/class/powercap", "stay empty"),
        ("cpu_energy", NO_RAPL | {"proc/cpuinfo": FOUR_THREADS}, "a virtual machine hides it", "stay empty"),
        ("gpu", {}, "Driver Not Loaded", "install the NVIDIA driver"),
        ("gpu_energy", {}, "no GPU", "stay empty"),
    ],
)
def test_each_thing_that_spoils_a_measurement_says_what_to_do(
    machine: MakeMachine,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    files: dict[str, str | None],
    detail: str,
    hint: str,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    found = finding(name, machine(files))
    assert not found.ok
    assert detail in found.detail
    assert hint in found.hint


@pytest.mark.parametrize(
    ("name", "files", "detail"),
    [
        ("cpu_quota", {"sys/fs/cgroup/user.slice/cpu.max": "200000 100000"}, "allows 2 cores' worth"),
        ("swap", {"proc/meminfo": "SwapTotal: 0 kB\nSwapFree: 0 kB\n"}, "none used"),
        ("battery", DISCHARGING | {"sys/class/power_supply/BAT0/status": "Charging"}, "charging"),
        ("battery", DISCHARGING | {"sys/class/power_supply/BAT0/scope": "Device"}, "no battery"),
        ("transparent_huge_pages", {"sys/kernel/mm/transparent_hugepage/enabled": None}, "has none"),
        ("cpu_energy", {}, "energy counter of the processor packages readable"),
        ("gpu_clock_reasons", {}, "no GPU to throttle"),
        ("gpu_processes", {}, "no GPU to share"),
    ],
)
def test_what_spoils_nothing_is_fine(
    machine: MakeMachine, monkeypatch: pytest.MonkeyPatch, name: str, files: dict[str, str | None], detail: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    found = finding(name, machine(files))
    assert (found.ok, found.hint) == (True, "")
    assert detail in found.detail


def test_the_reset_of_the_peak_is_tried_and_makes_no_file(machine: MakeMachine) -> None:
    root = machine()
    finding("memory_peak_reset", root)
    assert (root / "proc/self/clear_refs").read_text() == "5"
    (root / "proc/self/clear_refs").unlink()
    finding("memory_peak_reset", root)
    assert not (root / "proc/self/clear_refs").exists()


@pytest.mark.parametrize(
    ("name", "changed", "detail"),
    [
        ("gpu_energy", {"nvmlDeviceGetTotalEnergyConsumption": None}, "GPU 0 shows no energy counter"),
        ("gpu_energy", {"nvmlDeviceGetMigMode": lambda _: [1, 1]}, "GPU 0 is cut into MIG slices"),
        (
            "gpu_clock_reasons",
            {"nvmlDeviceGetCurrentClocksEventReasons": None},
            "GPU 0 does not say why its clocks are low",
        ),
        (
            "gpu_processes",
            {"nvmlDeviceGetComputeRunningProcesses": lambda _: [SimpleNamespace(pid=-7), SimpleNamespace(pid=-9)]},
            "other processes on GPU 0: -9, -7",
        ),
        (
            "gpu_processes",
            {"nvmlDeviceGetComputeRunningProcesses": None, "nvmlDeviceGetGraphicsRunningProcesses": None},
            "cannot be read on GPU 0",
        ),
    ],
)
def test_a_gpu_that_cannot_be_trusted_is_named(
    machine: MakeMachine, name: str, changed: dict[str, Any], detail: str
) -> None:
    found = finding(name, machine(), fake_nvml(**changed))
    assert not found.ok
    assert found.detail == detail
    assert found.hint
