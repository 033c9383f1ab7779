"""What the data allow to say, in sentences: only differences whose interval excludes no difference are claimed.

Designs are compared within one run and one workload, paired by rounds: every round measured all of them close
together, so that a drift of the machine falls on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import caveats, layers, units
from bench.report import naming
from bench.stats import paired_ratio_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.axes import AxisValue
    from bench.report.view import Entry, View
    from bench.stats import Interval

WRONG = "inaccurate"
"""The caveat with which a case is not ranked."""

MOST_WORKLOADS = 3
"""Workloads spoken of on the first screen."""


@dataclass(frozen=True)
class Findings:
    """Sentences for the first screen, a workload with its sentences each, and what to know beside them."""

    claims: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]


def of_run(view: View, number: int) -> Findings:
    """Returns what can be said of one run."""
    entries = [entry for entry in view.entries if entry.number == number]
    ours = [entry for entry in entries if not is_peer(entry)]
    timed = [entry for entry in view.timed() if entry.number == number and not is_peer(entry)]
    wrong = [entry for entry in timed if is_wrong(entry)]
    notes = [_wrong(wrong)] if wrong else []
    if len(ours) < len(entries):
        notes.append("Layers of other packages are not ranked here; each stands beside ours in a section of its own.")
    total = len(ours)
    if timed and len(timed) < total:
        notes.append(f"{total - len(timed)} of {total} cases have no full answer and are not ranked; see Failures.")
    timed = [entry for entry in timed if not is_wrong(entry)]
    if not timed:
        return Findings((), tuple(notes))
    groups = view.by_workload(timed)
    chosen = list(groups)[:MOST_WORKLOADS] if len(groups) <= MOST_WORKLOADS else [*list(groups)[:2], list(groups)[-1]]
    claims = [(name, tuple(_of_workload(groups[name]))) for name in chosen]
    if len(groups) > len(chosen):
        left = naming.count(len(groups) - len(chosen), "further workload")
        notes.append(f"{left}: see the charts and the table of all figures.")
    notes += _beside_speed(timed)
    return Findings(tuple(claims), tuple(notes))


@dataclass(frozen=True)
class Pairing:
    """Candidate / base in latency; `busy` when too few rounds were undisturbed for a claim."""

    interval: Interval
    busy: bool = False

    @property
    def differs(self) -> bool:
        """Whether a difference may be claimed: the interval excludes 1 and the machine was not shared."""
        found = self.interval
        return not self.busy and found.low is not None and found.high is not None and not found.low <= 1 <= found.high


def ratio(base: Entry, candidate: Entry) -> Pairing | None:
    """Returns candidate / base over the rounds that timed both, None if there is none.

    Rounds in which something else used the machine are left out where enough others remain, as in `bench.compare`.
    """
    sides = base.figure("latency"), candidate.figure("latency")
    if sides[0] is None or sides[1] is None:
        return None
    rounds = sorted(set(sides[0].by_repeat) & set(sides[1].by_repeat))
    shared = base.result.disturbed | candidate.result.disturbed
    calm = [r for r in rounds if r not in shared]
    enough = len(calm) >= caveats.FEW_REPEATS
    kept = calm if enough else rounds
    pairs = [(sides[0].by_repeat[r], sides[1].by_repeat[r]) for r in kept]
    if not pairs or any(min(pair) <= 0 for pair in pairs):
        return None
    interval = paired_ratio_interval([a for a, _ in pairs], [b for _, b in pairs])
    return Pairing(interval, busy=not enough and len(calm) < len(rounds))


def _slower(found: Pairing | None) -> bool:
    """Whether the candidate may be called slower."""
    return found is not None and found.differs and found.interval.estimate > 1


def is_wrong(entry: Entry) -> bool:
    """Whether the output is further from the oracle than the number format explains."""
    return any(flag.code == WRONG for flag in entry.result.flags)


def is_peer(entry: Entry) -> bool:
    """Whether the layer is of another package: it may compute another function, so its time is not ranked."""
    return layers.package(entry.case["layer"]) is not None


def best(entries: Sequence[Entry]) -> Entry:
    """Returns the entry of lowest latency."""
    return min(entries, key=lambda entry: entry.value("latency") or float("inf"))


def _of_workload(entries: Sequence[Entry]) -> list[str]:
    """Returns who is fastest at one workload, and how Soft MoE stands to dense and to the sparse layers."""
    first = best(entries)
    others = [entry for entry in entries if entry is not first]
    sentences = [_fastest(first, others)]
    by_role = {
        "soft": [entry for entry in entries if _role(entry) == "soft"],
        "dense": [entry for entry in entries if _role(entry) == "dense"],
        "sparse": [entry for entry in entries if _role(entry) in layers.SPARSE],
    }
    if by_role["soft"]:
        soft = best(by_role["soft"])
        sentences += [
            _against(soft, best(by_role[role]), f"the best {role} design" if len(by_role[role]) > 1 else "")
            for role in ("dense", "sparse")
            if by_role[role]
        ]
    return sentences


def _role(entry: Entry) -> AxisValue:
    """Returns the layer's name; of a model, that of the layer in its blocks."""
    return entry.case.get("moe", entry.case["layer"])


def _fastest(first: Entry, others: Sequence[Entry]) -> str:
    """Returns who is fastest, or among whom that cannot be told."""
    speed = f"{naming.value(first.figure('latency'))} per call, {naming.value(first.figure('throughput'))}"
    if not others:
        figure = first.figure("latency")
        reach = naming.interval(figure.interval if figure else None, "s")
        words = f"95\u00a0% interval {reach}" if reach != units.UNKNOWN else "one process, no interval"
        rate = naming.value(first.figure("throughput"))
        return f"{first.short} takes {naming.value(figure)} per call ({words}), {rate}."
    tied = [other for other in others if not _slower(ratio(first, other))]
    if not tied:
        return f"{first.short} is the fastest of {len(others) + 1} designs: {speed}."
    tied.sort(key=lambda entry: entry.value("latency") or 0.0)
    if len(tied) > 2 and len(tied) == len(others):
        return f"The {len(others) + 1} designs cannot be told apart; {first.short} has the lowest estimate: {speed}."
    names = naming.join([entry.short for entry in tied], 2)
    return f"{first.short} has the lowest latency ({speed}) but cannot be told apart from {names}."


def _against(soft: Entry, other: Entry, rank: str) -> str:
    """Returns how Soft MoE stands to another layer, which is called by its `rank` too where it has one."""
    pairing = ratio(other, soft)
    opponent = f"{rank} ({other.short})" if rank else other.short
    if pairing is None:
        return f"{soft.short} and {opponent} were never timed in the same round, so nothing can be said of the two."
    found = pairing.interval
    times = naming.ratio(found.estimate)
    if found.low is None or found.high is None:
        return f"{soft.short} took {times} times as long as {opponent}, from a single round: too few for a claim."
    reach = f"95\u00a0% interval {naming.times(found)}"
    if pairing.busy:
        return (
            f"Nothing is claimed of {soft.short} and {opponent}: other programs used the machine "
            f"(ratio {times}, {reach})."
        )
    if not pairing.differs:
        return f"{soft.short} and {opponent} cannot be told apart (ratio {times}, {reach})."
    work = [entry.value("flops") for entry in (soft, other)]
    extra = ""
    if work[0] and work[1] and abs(work[0] / work[1] - 1) > 0.01:
        extra = f", doing {naming.ratio(work[0] / work[1])} times its useful FLOPs"
    return f"{soft.short} takes {times} times as long as {opponent} ({reach}){extra}."


def _wrong(entries: Sequence[Entry]) -> str:
    """Returns which cases are not ranked because their output is wrong."""
    names = naming.join([entry.plain for entry in entries])
    return f"Not ranked, because the output is further from the oracle than the number format explains: {names}."


def _beside_speed(entries: Sequence[Entry]) -> list[str]:
    """Returns what a reader must know before a fast layer is taken for a good one."""
    rates = [(entry.value("unrouted_rate") or 0.0, entry) for entry in entries]
    worst, entry = max(rates, key=lambda pair: pair[0])
    if worst <= 0.01:
        return []
    share = units.format_value(worst, "ratio")
    return [f"Speed is not quality: up to {share} of the tokens reach no expert ({entry.plain}); see Routing."]
