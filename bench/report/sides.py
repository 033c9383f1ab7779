"""Runs by the devices that their cases ran on, and the ratio of the same case on two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import caveats
from bench.report import findings, view
from bench.report.facts import device_of
from bench.stats import Interval, ratio_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.axes import AxisValue
    from bench.report.view import Entry, View
    from bench.results import RunResults

Same = tuple[tuple[str, "AxisValue"], ...]
"""The axes of a case but for the device: the same work."""


@dataclass(frozen=True)
class Side:
    """One device in one run: its cases by their axes without the device; `short` is for the heads of a table."""

    run: RunResults
    device: str
    label: str
    short: str
    entries: Mapping[Same, Entry]


@dataclass(frozen=True)
class Pair:
    """A case that both devices timed: `faster` is how many times as fast the other is as the base, None: no claim."""

    case: str
    faster: Interval | None
    why: str = ""

    @property
    def differs(self) -> bool:
        """Whether the interval excludes no difference."""
        found = self.faster
        return bool(found and found.low is not None and found.high is not None and not found.low <= 1 <= found.high)


def of(seen: View, runs: Sequence[RunResults]) -> list[Side]:
    """Returns the devices of each run; a label is the device's name, with the run where several have that name."""
    found: dict[tuple[int, str], dict[Same, Entry]] = {}
    for entry in seen.entries:
        place = (entry.number, str(entry.case.get("device", "cpu")))
        found.setdefault(place, {})[tuple((k, v) for k, v in entry.case.items() if k != "device")] = entry
    names = view.run_names(runs)
    devices = {place: device_of(runs[place[0]], place[1]) for place in found}
    of_name = list(devices.values())
    return [
        Side(
            runs[place[0]],
            devices[place],
            devices[place] if of_name.count(devices[place]) == 1 else f"{devices[place]} [{names[place[0]]}]",
            _short(names[place[0]], place, list(found)),
            entries,
        )
        for place, entries in found.items()
    ]


def _short(run: str, place: tuple[int, str], places: Sequence[tuple[int, str]]) -> str:
    """Returns the run where it has but one device, the kind of device where there is but one run, else both."""
    alone = sum(number == place[0] for number, _ in places) == 1
    one_run = len({number for number, _ in places}) == 1
    return run if alone else place[1] if one_run else f"{run}, {place[1]}"


def pairs(base: Side, other: Side, names: Mapping[Same, str]) -> dict[Same, Pair]:
    """Returns the cases that both have."""
    return {
        same: _pair(base.entries[same], other.entries[same], name)
        for same, name in names.items()
        if same in other.entries
    }


def _pair(base: Entry, other: Entry, name: str) -> Pair:
    """Returns how many times as fast a case is on the other device."""
    both = (base, other)
    if not all(entry.ok and entry.figure("latency") for entry in both):
        return Pair(name, None, "have no good result on one of the two; see Failures")
    if any(findings.is_wrong(entry) for entry in both):
        return Pair(name, None, "are further from the oracle than the number format explains")
    calm = [_calm(entry) for entry in both]
    if calm[0] is None or calm[1] is None:
        return Pair(name, None, "shared the machine with other programs, so that nothing is claimed")
    if min(*calm[0], *calm[1]) <= 0:
        return Pair(name, None, "have a latency of zero")
    found = ratio_interval(calm[1], calm[0])
    return Pair(name, found, "" if found.low is not None else "were timed by a single process: too few for a claim")


def _calm(entry: Entry) -> list[float] | None:
    """Returns the medians of the processes that had the machine to themselves, None where too few had."""
    by_repeat = entry.result.figures["latency"].by_repeat
    calm = [value for repeat, value in by_repeat.items() if repeat not in entry.result.disturbed]
    return calm if len(calm) == len(by_repeat) or len(calm) >= caveats.FEW_REPEATS else None


def inverse(found: Interval) -> Interval:
    """Returns the ratio the other way round."""
    ends = [None if end is None else 1 / end for end in (found.high, found.low)]
    return Interval(1 / found.estimate, ends[0], ends[1], found.replicates)
