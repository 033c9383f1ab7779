"""How much memory a worker may take: most of what is free, so that a layer runs out of it before the machine does.

The limit is on private writable memory (RLIMIT_DATA, which since Linux 4.7 counts it whether from brk or mmap), not on
the address space: mapped libraries and reservations, of which torch has gigabytes, cost nothing.
"""

from __future__ import annotations

import re
import resource
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from bench import units
from bench.environment import ROOT, parse_cgroup, parse_meminfo, read

if TYPE_CHECKING:
    from pathlib import Path

SHARE = 0.9
"""Of the free memory, what one worker may take; the rest is for everything else on the machine."""

GROUP_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
"""Limit and use of a control group, version 2 and version 1; source: Linux, Documentation/admin-guide."""


def limit(root: Path = ROOT) -> None:
    """Limits this process to what it has and most of what is free; not at all where the system does not tell."""
    free = available(root)
    has = parse_meminfo(read(root, "proc/self/status")).get("VmData")
    if free is None or has is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = has + int(SHARE * free)
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def words() -> str:
    """Returns what this process is limited to, in brackets; nothing where it is not."""
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY:
        return ""
    return f" (a worker may take {units.format_value(soft, 'B')} here, most of what was free when it started)"


def available(root: Path = ROOT) -> int | None:
    """Returns the bytes that this process could still take: of the machine, and of each control group it is in."""
    free = [size for name, size in parse_meminfo(read(root, "proc/meminfo")).items() if name == "MemAvailable"]
    for controllers, path in parse_cgroup(read(root, "proc/self/cgroup")):
        mounts = ("", "unified") if not controllers else tuple(n for n in controllers.split(",") if n == "memory")
        parts = PurePosixPath(path.lstrip("/"))
        for folder in (f"sys/fs/cgroup/{mount}/{part}" for mount in mounts for part in (parts, *parts.parents)):
            free += [left for files in GROUP_FILES if (left := _left(root, folder, files)) is not None]
    return min(free, default=None)


def _left(root: Path, folder: str, files: tuple[str, str]) -> int | None:
    """Returns what a control group may still take, None without a limit; cached files that can go count as free."""
    most, used = (read(root, f"{folder}/{name}") for name in files)
    if not (most.isdigit() and used.isdigit()):
        return None
    cached = re.search(r"^(?:total_)?inactive_file (\d+)$", read(root, f"{folder}/memory.stat"), re.MULTILINE)
    return max(0, int(most) - int(used) + (int(cached[1]) if cached else 0))
