"""What machine this is: facts that decide whether two runs compare, facts for the reader, and what can be measured.

Two parts, after pyperf's metadata: *comparable* facts are stable names and sizes, *informational* ones are readings of
the moment. No measured speed is ever a comparable fact: a clock read at start makes every run of one machine different
(pytest-benchmark#255, folo#429). Nothing here raises on an unusual machine: what cannot be read is None. Files are read
below a root folder, so that a test brings its own /proc and /sys; NVML is a parameter, so that it brings its own GPU.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Fact = str | int | float | None

ROOT = Path("/")
PACKAGES = ("softmoe-bench", "torch", "triton", "numpy", "fvcore", "nvidia-ml-py")
GIB = 2**30
_NO_LIMIT = 2**60  # cgroup v1 writes "no limit" as the largest page-aligned 63-bit number
_CONTAINERS = ("docker", "kubepods", "containerd", "podman", "lxc")
_SIMD = ("amx_tile", "avx512f", "avx2", "avx", "sve2", "sve", "asimd")  # widest first
CPU_FOLDER = "sys/devices/system/cpu"
TURBO_SWITCHES = (
    (f"{CPU_FOLDER}/intel_pstate/no_turbo", {"on": "0", "off": "1"}),
    (f"{CPU_FOLDER}/cpufreq/boost", {"on": "1", "off": "0"}),
)


def comparable_facts(root: Path = ROOT) -> dict[str, Fact]:
    """What must agree for two runs to be compared: processor, cores, quota, memory, system and Python.

    Memory is what this process may use, to whole GiB in bytes: kernels keep a changing amount for themselves. The
    processor's vendor, family and model stand beside its name, because a hypervisor may say no more than "AMD EPYC".
    """
    quota, limit = cgroup_limits(root)
    total = parse_meminfo(read(root, "proc/meminfo")).get("MemTotal")
    memory = min((size for size in (total, limit) if size is not None), default=None)
    return {
        **parse_cpuinfo(read(root, "proc/cpuinfo")),
        "cores_usable": usable_cores(),
        "cpu_quota": quota,
        "memory_bytes": None if memory is None else round(memory / GIB) * GIB,
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {'.'.join(platform.python_version_tuple()[:2])}",
    }


def informational_facts(root: Path = ROOT) -> dict[str, Fact]:
    """Readings of the moment and names, for the reader of a report: never compared. Base units; None is unknown."""
    memory = parse_meminfo(read(root, "proc/meminfo"))
    states = batteries(root)
    return {
        "host": platform.node() or None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release() or None,
        "virtual_machine": virtual_machine(root),
        "container": _container(root),
        "load_average": load_average(root),
        "cpu_hz": cpu_hz(root),
        "cpu_governor": governor(root),
        "cpu_turbo": turbo(root),
        "battery": states[0] if states else None,
        "memory_total_bytes": memory.get("MemTotal"),
        "memory_available_bytes": memory.get("MemAvailable"),
        "memory_limit_bytes": cgroup_limits(root)[1],
        "swap_used_bytes": swap_used(memory),
        "transparent_huge_pages": huge_pages(root),
    }


def differences(a: Mapping[str, Fact], b: Mapping[str, Fact]) -> list[tuple[str, Fact, Fact]]:
    """(fact, in a, in b) for each fact on which two fingerprints disagree; a missing fact counts as None."""
    return [(name, a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]


def package_versions(names: Sequence[str] = PACKAGES) -> dict[str, str | None]:
    """Installed versions of the packages that a figure depends on, read without importing them; None: not installed."""
    from importlib import metadata  # noqa: PLC0415 - takes 50 ms, and most callers of this file do not need it

    versions: dict[str, str | None] = dict.fromkeys(names)
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def git_facts(folder: Path) -> dict[str, str | bool | None]:
    """Commit, branch (None: detached) and dirty (changed or new files) of a folder; {} without git or repository."""
    git = shutil.which("git")
    if git is None:
        return {}
    command = [git, "-C", str(folder), "status", "--porcelain=v2", "--branch"]
    # inside a hook these name another repository; without the lock a run never disturbs the user's own git
    others = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    environment = {name: value for name, value in os.environ.items() if name not in others}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, env=environment)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_git_status(done.stdout)


# What the files say: pure functions of a text.


def parse_git_status(text: str) -> dict[str, str | bool | None]:
    """Commit, branch and dirty from `git status --porcelain=v2 --branch`; {} before the first commit."""
    headers = dict(re.findall(r"^# branch\.(oid|head) (.+)$", text, re.MULTILINE))
    if headers.get("oid", "(initial)") == "(initial)":
        return {}
    branch = headers.get("head", "(detached)")
    dirty = any(line and not line.startswith("#") for line in text.splitlines())
    return {"commit": headers["oid"], "branch": None if branch == "(detached)" else branch, "dirty": dirty}


def parse_cpuinfo(text: str) -> dict[str, Fact]:
    """Name, signature (vendor, family, model), widest vector instructions and physical cores from /proc/cpuinfo."""
    processors = [
        {
            key.strip(): value.strip()
            for key, colon, value in (line.partition(":") for line in block.splitlines())
            if colon
        }
        for block in re.split(r"\n\s*\n", text)
    ]
    first = next((fields for fields in processors if "processor" in fields), {})
    arm = [first[key] for key in ("CPU implementer", "CPU architecture", "CPU part") if key in first]
    signature = arm or [first[key] for key in ("vendor_id", "cpu family", "model") if key in first]
    name = first.get("model name") or first.get("cpu") or (f"ARM {' '.join(arm)}" if arm else None)
    flags = (first.get("flags") or first.get("Features") or "").split()
    cores = {(fields.get("physical id"), fields["core id"]) for fields in processors if "core id" in fields}
    return {
        "cpu": None if name is None else " ".join(name.split()),
        "cpu_signature": " ".join(signature) or None,
        "cpu_simd": next((flag for flag in _SIMD if flag in flags), None),
        "cores_physical": len(cores) or None,
    }


def parse_meminfo(text: str) -> dict[str, int]:
    """Sizes of /proc/meminfo in bytes, by their names there."""
    return {name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def parse_cgroup(text: str) -> list[tuple[str, str]]:
    """(controllers, path) of each line of /proc/self/cgroup; version 2 has one line without controllers."""
    return re.findall(r"^\d+:([^:]*):(.*)$", text, re.MULTILINE)


def parse_cpu_quota(quota: str, period: str) -> float | None:
    """Cores' worth of time that a control group may use; None where it is not limited ("max", -1)."""
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    return int(quota) / int(period)


def cgroup_limits(root: Path = ROOT) -> tuple[float | None, int | None]:
    """(cores, bytes) to which control groups, version 1 or 2, limit this process: the tightest on the way up."""
    quotas: list[float | None] = []
    sizes: list[int] = []
    for folder in cgroup_folders(root):
        quotas.append(parse_cpu_quota(*[*read(root, f"{folder}/cpu.max").split(), "", ""][:2]))
        version_1 = (read(root, f"{folder}/cpu.cfs_{name}_us") for name in ("quota", "period"))
        quotas.append(parse_cpu_quota(*version_1))
        limits = (read(root, f"{folder}/{name}") for name in ("memory.max", "memory.limit_in_bytes"))
        sizes += [int(limit) for limit in limits if limit.isdigit() and int(limit) < _NO_LIMIT]
    return min((quota for quota in quotas if quota is not None), default=None), min(sizes, default=None)


def cgroup_folders(root: Path = ROOT) -> Iterator[str]:
    """The folders of this process' control groups, each with those above it; not all of them need be there."""
    for controllers, path in parse_cgroup(read(root, "proc/self/cgroup")):
        mounts = ("", "unified") if not controllers else (controllers, *controllers.split(","))
        parts = PurePosixPath(path.lstrip("/"))
        # in a container the path may be the host's: folders that are not there are passed over, the mount's top counts
        yield from (f"sys/fs/cgroup/{mount}/{part}" for mount in mounts for part in (parts, *parts.parents))


def read(root: Path, path: str) -> str:
    """The text of a file below the root without its outer white space; empty where it cannot be read."""
    try:
        return (root / path).read_text(errors="replace").strip()
    except OSError:
        return ""


def usable_cores() -> int | None:
    """How many logical cores this process may use."""
    return len(core_numbers()) or os.cpu_count()


def core_numbers() -> tuple[int, ...]:
    """Which logical cores this process may use, by number; none where the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def load_average(root: Path) -> float | None:
    """How many threads wanted to run, on average over the last minute."""
    average = re.match(r"[\d.]+\b", read(root, "proc/loadavg"))
    return float(average[0]) if average else None


def cpu_hz(root: Path) -> float | None:
    """The clock of the first core at this moment."""
    scaling = read(root, f"{CPU_FOLDER}/cpu0/cpufreq/scaling_cur_freq")
    if scaling.isdigit():
        return float(scaling) * 1e3
    clock = re.search(r"^cpu MHz\s*:\s*([\d.]+)", read(root, "proc/cpuinfo"), re.MULTILINE)
    return float(clock[1]) * 1e6 if clock else None


def governor(root: Path) -> str | None:
    """Who decides the clock of the first core, by the kernel's name for it."""
    return read(root, f"{CPU_FOLDER}/cpu0/cpufreq/scaling_governor") or None


def swap_used(memory: Mapping[str, int]) -> int | None:
    """Bytes of swap in use, None where the system does not tell."""
    return memory["SwapTotal"] - memory["SwapFree"] if {"SwapTotal", "SwapFree"} <= set(memory) else None


def huge_pages(root: Path) -> str | None:
    """The mode of transparent huge pages: always, madvise or never."""
    chosen = re.search(r"\[(\w+)\]", read(root, "sys/kernel/mm/transparent_hugepage/enabled"))
    return chosen[1] if chosen else None


def turbo(root: Path) -> str | None:
    """Whether the clock may rise above its base: on or off, None where the system does not tell."""
    found = ((words, read(root, path)) for path, words in TURBO_SWITCHES)
    return next((state for words, text in found for state, written in words.items() if text == written), None)


def batteries(root: Path) -> list[str]:
    """The state of each battery of the machine, not of a mouse or a pen."""
    supplies = sorted((root / "sys/class/power_supply").glob("*"))
    own = [s for s in supplies if read(s, "type") == "Battery" and read(s, "scope") != "Device"]
    return [read(supply, "status").lower() or "unknown" for supply in own]


def virtual_machine(root: Path) -> str | None:
    """The hypervisor's name as far as it tells one; None where none shows itself."""
    names = [read(root, f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name")]
    kind = read(root, "sys/hypervisor/type")
    if not kind and not re.search(r"^flags\s*:.*\bhypervisor\b", read(root, "proc/cpuinfo"), re.MULTILINE):
        return None
    return " ".join(name for name in (*names, kind) if name) or "unnamed hypervisor"


def _container(root: Path) -> str | None:
    if named := read(root, "run/systemd/container"):
        return named
    marks = {".dockerenv": "docker", "run/.containerenv": "podman"}
    found = next((name for mark, name in marks.items() if (root / mark).exists()), None)
    groups = read(root, "proc/self/cgroup")
    return found or next((name for name in _CONTAINERS if name in groups), None)
