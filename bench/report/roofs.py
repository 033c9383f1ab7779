"""Roofs: what a device can do at best at each arithmetic intensity, and the cases that are held against it.

S. Williams, A. Waterman and D. Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52(4), 2009: attainable FLOP/s = min(peak, intensity * bandwidth).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import peaks, units
from bench.report import naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.view import Entry, View
    from bench.results import Figure

BANDWIDTH, COMPUTE = "bandwidth", "compute"
MEASURED, SHEET = "measured here", "data sheet"
SUSPECT = "suspect"
"""The caveat of a case that claims more than its device can do."""


@dataclass(frozen=True)
class Roof:
    """What a device can do at best, and who says so."""

    flops_per_s: float
    bandwidth: float
    source: str

    @property
    def corner(self) -> float:
        """The arithmetic intensity at which both bind."""
        return self.flops_per_s / self.bandwidth

    def at(self, intensity: float) -> float:
        """Returns the FLOP/s that are attainable at an arithmetic intensity."""
        return min(self.flops_per_s, intensity * self.bandwidth)

    def bound(self, intensity: float) -> str:
        """Returns which of the two binds."""
        return BANDWIDTH if intensity < self.corner else COMPUTE

    @property
    def words(self) -> str:
        """Both figures, and who says so."""
        rates = units.format_value(self.flops_per_s, "FLOP/s"), units.format_value(self.bandwidth, "B/s")
        return f"{self.source}: {rates[0]}, {rates[1]}"


@dataclass(frozen=True)
class Placed:
    """A case in the plane, and the share of its roof that it reaches, None without a roof."""

    entry: Entry
    intensity: float
    rate: Figure
    roof: Roof | None

    @property
    def share(self) -> float | None:
        """Attained over attainable."""
        return None if self.roof is None else self.rate.value / self.roof.at(self.intensity)

    @property
    def bound(self) -> str:
        """What binds, a dash where that is unknown."""
        return units.UNKNOWN if self.roof is None else self.roof.bound(self.intensity)

    @property
    def suspect(self) -> bool:
        """Whether it claims more than its device can do."""
        return any(flag.code == SUSPECT for flag in self.entry.result.flags)


@dataclass(frozen=True)
class Group:
    """The cases with one roof: one run, device, number format and number of threads."""

    name: str
    cases: tuple[Placed, ...]
    roofs: tuple[Roof, ...]
    lacking: str


def groups(rated: Sequence[Entry], seen: View) -> list[Group]:
    """Returns the cases by their roof."""
    found: dict[tuple[object, ...], list[Entry]] = {}
    for entry in rated:
        key = entry.number, entry.case["device"], entry.case["dtype"], entry.case.get("threads")
        found.setdefault(key, []).append(entry)
    threads = len({entry.case.get("threads") for entry in rated}) > 1
    grouped = []
    for entries in found.values():
        first = entries[0]
        roofs = [
            roof
            for source, flops, bandwidth in (
                (MEASURED, "ceiling_flops_per_s", "ceiling_bandwidth"),
                (SHEET, "peak_flops_per_s", "peak_bandwidth"),
            )
            if (roof := _roof(first, source, flops, bandwidth))
        ]
        cases = tuple(
            Placed(
                entry,
                entry.value("arithmetic_intensity") or 0.0,
                entry.result.figures["flops_per_s"],
                roofs[0] if roofs else None,
            )
            for entry in entries
        )
        name = _name(first, threads=threads, several=seen.several)
        grouped.append(Group(name, cases, tuple(roofs), _lacking(first)))
    return grouped


def _roof(entry: Entry, source: str, flops: str, bandwidth: str) -> Roof | None:
    """Returns a roof of which both parts are known."""
    known = entry.result.ceilings
    return Roof(known[flops][0], known[bandwidth][0], source) if flops in known and bandwidth in known else None


def _name(entry: Entry, *, threads: bool, several: bool) -> str:
    """Returns what a group is called: number format and device, threads and run where they differ."""
    facts = entry.run.run.environment.comparable
    device, dtype = str(entry.case["device"]), str(entry.case["dtype"])
    title = facts.get("gpu" if device == "cuda" else "cpu") or device
    format_ = peaks.number_format(dtype, device, facts)
    words = f"{dtype}{'' if format_ == dtype else f' (multiplied in {format_})'} on {title}"
    if threads:
        words += f", {naming.phrase('threads', entry.case.get('threads'))}"
    return naming.plain(f"{words} [{entry.run_name}]" if several else words)


def _lacking(entry: Entry) -> str:
    """Returns why a group has no measured roof, nothing where it has one."""
    known, threads = entry.result.ceilings, entry.case.get("threads")
    facts = entry.run.run.environment.comparable
    parts = {"ceiling_flops_per_s": "FLOP/s", "ceiling_bandwidth": "bandwidth"}
    lost = [words for name, words in parts.items() if name not in known]
    if not lost:
        return ""
    if threads not in (None, facts.get("torch_threads")):
        return f"what softmoe-bench calibrate measures does not hold for {naming.phrase('threads', threads)}"
    what = "no ceiling was" if len(lost) == len(parts) else f"the {lost[0]} was not"
    return f"{what} measured here; softmoe-bench calibrate measures it, also after the run, with the same --store"
