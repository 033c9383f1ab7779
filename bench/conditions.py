"""What can change on a machine while something is measured: a reading before, one after, and what both say.

A reading is a few small files and takes about a millisecond, so that every timed process can afford two. Counts are
since boot or since the start of this process and only their rise means anything; what cannot be read is None, and no
rule fires on what is unknown. Files are read below a root folder, so that a test brings its own machine.
"""

from __future__ import annotations

import os
import re
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import environment
from bench.environment import CPU_FOLDER, ROOT
from bench.records import Flag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_CORES = 0.25
"""Cores that other programs may use before a measurement counts as disturbed."""

STOLEN_SHARE = 0.02
"""Share of the wanted processor time that a hypervisor may keep: twice the precision that is asked for by default."""

LEAST_STOLEN = 0.02
"""Seconds; one tick of the kernel's count (10 ms) says nothing yet."""

SWAPPED_PAGES = 256
"""Pages that may go to or come from swap unmentioned: 1 MiB, some idle program that wakes up."""

CLOCK_STEP, CLOCK_DRIFT = 0.1, 0.01
"""Seconds, and share of the measured time, by which the two clocks may part: NTP slews by 0.05 % at most."""

_TICKS = os.sysconf("SC_CLK_TCK")
_CPU_CHIPS = frozenset({"coretemp", "cpu_thermal", "k10temp", "zenpower"})
_CPU_ZONES = re.compile(r"cpu|pkg|soc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """One reading: two clocks, counters, and states of the moment; base units, None is unknown.

    `busy_s` are processor seconds of all programs of this machine, `own_s` those of this process, `stolen_s` those that
    were wanted while the hypervisor ran something else. `quota_stops` counts periods in which a control group used up
    its time, `quota_stopped_s` how long its threads then stood still. `cpu_throttles` counts how often cores or
    packages slowed down from heat.
    """

    monotonic_s: float
    wall_s: float
    own_s: float
    minor_faults: int
    major_faults: int
    involuntary_switches: int
    busy_s: float | None = None
    stolen_s: float | None = None
    swapped_pages: int | None = None
    quota_stops: int | None = None
    quota_stopped_s: float | None = None
    cpu_throttles: int | None = None
    load_average: float | None = None
    cpu_hz: float | None = None
    temperature_c: float | None = None
    governor: str | None = None
    turbo: str | None = None
    batteries: tuple[str, ...] = ()


def read(root: Path = ROOT) -> Conditions:
    """Returns the conditions of this moment; nothing raises, whatever the machine does not tell."""
    busy, stolen = parse_stat(environment.read(root, "proc/stat"))
    stops, stopped = _quota_stops(root)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Conditions(
        monotonic_s=time.monotonic(),
        wall_s=time.time(),
        own_s=usage.ru_utime + usage.ru_stime,
        minor_faults=usage.ru_minflt,
        major_faults=usage.ru_majflt,
        involuntary_switches=usage.ru_nivcsw,
        busy_s=busy,
        stolen_s=stolen,
        swapped_pages=parse_vmstat(environment.read(root, "proc/vmstat")),
        quota_stops=stops,
        quota_stopped_s=stopped,
        cpu_throttles=_cpu_throttles(root),
        load_average=environment.load_average(root),
        cpu_hz=environment.cpu_hz(root),
        temperature_c=_temperature(root),
        governor=environment.governor(root),
        turbo=environment.turbo(root),
        batteries=tuple(environment.batteries(root)),
    )


# What two readings say: pure functions.


def others_cores(before: Conditions, after: Conditions) -> float | None:
    """Returns how many cores other programs kept busy between two readings, None where the system does not tell."""
    wall, busy = after.monotonic_s - before.monotonic_s, _rise(before, after, "busy_s")
    own = after.own_s - before.own_s
    if busy is None or wall <= 0:
        return None
    if own > 0.1 and busy < own / 2:  # some containers show a count that stands still
        return None
    return max(0.0, busy - own) / wall


def stolen_share(before: Conditions, after: Conditions) -> float | None:
    """Returns the share of the wanted processor time that the hypervisor kept, None where nothing is known of it."""
    busy, stolen = _rise(before, after, "busy_s"), _rise(before, after, "stolen_s")
    if busy is None or stolen is None or busy + stolen <= 0:
        return None
    return stolen / (busy + stolen)


def flags(before: Conditions, after: Conditions) -> tuple[Flag, ...]:
    """Returns the caveats of a measurement that lies between two readings."""
    return tuple(_flags(before, after))


def facts(before: Conditions, after: Conditions) -> dict[str, Any]:
    """Returns what happened between two readings, and under `conditions` the states at both; plain data, in base units.

    What is unknown is None.
    """
    states = ("cpu_hz", "temperature_c", "load_average", "governor", "turbo")
    counts = ("minor_faults", "major_faults", "involuntary_switches", "swapped_pages", "quota_stops", "quota_stopped_s")
    return {
        "others_cores": others_cores(before, after),
        "stolen_share": stolen_share(before, after),
        **{name: _rise(before, after, name) for name in (*counts, "cpu_throttles")},
        "conditions": {
            **{name: [getattr(before, name), getattr(after, name)] for name in states},
            "batteries": [list(before.batteries), list(after.batteries)],
        },
    }


def _flags(before: Conditions, after: Conditions) -> Iterator[Flag]:
    """Yields the caveats in the order of their table."""
    cores, share = others_cores(before, after), stolen_share(before, after)
    if cores is not None and cores > BUSY_CORES:
        yield Flag("loaded", f"{cores:.1f} cores in use by others")
    stolen = _rise(before, after, "stolen_s") or 0.0
    if share is not None and share > STOLEN_SHARE and stolen > LEAST_STOLEN:
        yield Flag("stolen", f"{share:.0%} of the processor time, {stolen:.2f} s")
    if stops := _rise(before, after, "quota_stops"):
        stopped = _rise(before, after, "quota_stopped_s")
        yield Flag("quota", f"stopped {_times(stops)}" + ("" if stopped is None else f", {stopped:.2f} s in all"))
    pages = _rise(before, after, "swapped_pages") or 0
    if pages > SWAPPED_PAGES:
        yield Flag("swapped", f"{int(pages)} pages")
    if throttles := _rise(before, after, "cpu_throttles"):
        yield Flag("cpu_throttled", _times(throttles))
    if "discharging" in (*before.batteries, *after.batteries):
        yield Flag("battery")
    governors = [name for name in (before.governor, after.governor) if name not in {None, "performance"}]
    if governors:
        yield Flag("governor", f"governor {governors[-1]}")
    elapsed = after.monotonic_s - before.monotonic_s
    step = after.wall_s - before.wall_s - elapsed
    if abs(step) > CLOCK_STEP + CLOCK_DRIFT * elapsed:
        yield Flag("clock_stepped", f"by {step:+.1f} s")


def _rise(before: Conditions, after: Conditions, counter: str) -> float | None:
    """Returns how much a counter rose; None where it is unknown or was set back."""
    low, high = getattr(before, counter), getattr(after, counter)
    return None if low is None or high is None or high < low else high - low


def _times(count: float) -> str:
    return "once" if count == 1 else f"{int(count)} times"


# What the files say.


def parse_stat(text: str) -> tuple[float | None, float | None]:
    """Returns busy and stolen processor seconds of all cores from /proc/stat.

    Time of guests is contained in that of user and nice; waiting for a disk is no work.
    """
    line = re.match(r"cpu +([\d ]+)", text)
    if line is None:
        return None, None
    user, nice, system, _idle, _waiting, irq, soft_irq, stolen, *_ = (*map(int, line[1].split()), *[0] * 8)
    return (user + nice + system + irq + soft_irq) / _TICKS, stolen / _TICKS


def parse_vmstat(text: str) -> int | None:
    """Returns pages swapped in and out, from /proc/vmstat."""
    pages = re.findall(r"^pswp(?:in|out) (\d+)$", text, re.MULTILINE)
    return sum(map(int, pages)) if pages else None


def parse_quota_stops(text: str) -> tuple[int | None, float | None]:
    """Returns how often a control group's quota stopped it and for how many seconds, from cpu.stat of both versions."""
    fields = dict(re.findall(r"^(\w+) (\d+)$", text, re.MULTILINE))
    stops, micro, nano = (fields.get(name) for name in ("nr_throttled", "throttled_usec", "throttled_time"))
    seconds = int(micro) / 1e6 if micro is not None else int(nano) / 1e9 if nano is not None else None
    return None if stops is None else int(stops), seconds


def _quota_stops(root: Path) -> tuple[int | None, float | None]:
    """Returns the sums over all control groups that hold this process: each may have a quota of its own."""
    # version 1 mounts one folder under several names
    folders = {(root / folder).resolve() for folder in environment.cgroup_folders(root)}
    found = [parse_quota_stops(environment.read(folder, "cpu.stat")) for folder in folders]
    stops = [count for count, _ in found if count is not None]
    seconds = [stopped for count, stopped in found if count is not None and stopped is not None]
    return sum(stops) if stops else None, sum(seconds) if seconds else None


def _cpu_throttles(root: Path) -> int | None:
    """Returns the sum of the counts of all cores; that of a package stands at each of its cores."""
    files = (root / CPU_FOLDER).glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = [int(text) for file in files if (text := environment.read(file.parent, file.name)).isdigit()]
    return sum(counts) if counts else None


def _temperature(root: Path) -> float | None:
    """Returns the highest temperature of the processor's sensors; other chips may be slow to answer, or asleep."""
    chips = (root / "sys/class/hwmon").glob("hwmon*")
    chips_of_cpu = (chip for chip in chips if environment.read(chip, "name") in _CPU_CHIPS)
    files = [file for chip in chips_of_cpu for file in chip.glob("temp*_input")]
    zones = (root / "sys/class/thermal").glob("thermal_zone*")
    files += [zone / "temp" for zone in zones if _CPU_ZONES.search(environment.read(zone, "type"))]
    texts = (environment.read(file.parent, file.name) for file in files)
    return max((int(text) / 1e3 for text in texts if re.fullmatch(r"-?\d+", text)), default=None)
