"""Three counts of the same FLOPs, and in words where and why they differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench import units

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.records import Outcome

COUNTERS = ("torch", "fvcore")
MOST_NAMED = 4
"""Operators without products that a difference names; the most frequent ones, which tell how it came about."""

KINDS = {"conv": "convolutions", "attention": "attention", "embedding_bag": "looked-up rows"}
"""A part of an operator's name -> what it computes; all others are matrix products."""


@dataclass(frozen=True)
class Count:
    """What one counter saw of one call.

    `by_operator` are the FLOPs that it counted; `uncounted` and `negligible` say how often it met operators that it did
    not count, which may have products or have none. `total` is None where something was missed, and `refused` says why
    where the counter could not look at all.
    """

    total: float | None = None
    by_operator: Mapping[str, float] = field(default_factory=dict)
    uncounted: Mapping[str, int] = field(default_factory=dict)
    negligible: Mapping[str, int] = field(default_factory=dict)
    refused: str = ""

    @property
    def missing(self) -> str:
        """Why there is no total, empty where there is one."""
        return self.refused or ", ".join(f"{name} ({times}x)" for name, times in sorted(self.uncounted.items()))


@dataclass(frozen=True)
class Difference:
    """Two counts of one call that differ: how many FLOPs `counted` has more than `other`, and in which operators."""

    counted: str
    other: str
    flops: float
    words: str


@dataclass(frozen=True)
class Agreement:
    """What came of comparing: the pairs that were compared, and the differences found; neither where one is unknown."""

    compared: tuple[tuple[str, str], ...]
    differences: tuple[Difference, ...]

    @property
    def words(self) -> str:
        """The differences one after another, "agree", or nothing where nothing could be compared."""
        if self.differences:
            return "; ".join(difference.words for difference in self.differences)
        return "agree" if self.compared else ""


def facts(counts: Mapping[str, Count]) -> dict[str, Any]:
    """Returns the counts but for their totals, which are observations, as plain data; `count_of` reads it."""
    return {
        "flops_by_operator": {name: dict(count.by_operator) for name, count in counts.items()},
        "flops_uncounted": {name: dict(count.uncounted) for name, count in counts.items()},
        "flops_negligible": {name: dict(count.negligible) for name, count in counts.items()},
        "flops_refused": {name: count.refused for name, count in counts.items() if count.refused},
    }


def count_of(outcome: Outcome, counter: str) -> Count:
    """Returns what a counter saw in a process; older stores know no more than its total."""
    found: dict[str, Any] = {
        part: outcome.facts.get(f"flops_{part}", {}).get(counter, {})
        for part in ("by_operator", "uncounted", "negligible")
    }
    refused = outcome.facts.get("flops_refused", {}).get(counter, "")
    total = next(iter(outcome.samples(f"flops_{counter}")), None)
    return Count(total, **found, refused=refused)


def reconcile(formula: float | None, torch: Count, fvcore: Count, *, tolerance: float) -> Agreement:
    """Returns where the formula's executed FLOPs, torch's count and fvcore's are more than a share `tolerance` apart.

    torch's counter follows the call itself, so that the two others are held against it.
    """
    compared, differences = [], []
    if formula is not None and torch.total is not None:
        compared.append(("torch", "formula"))
        if _apart(torch.total, formula, tolerance):
            differences.append(_from_formula(torch, torch.total, formula))
    if fvcore.total is not None and torch.total is not None:
        compared.append(("torch", "fvcore"))
        if _apart(torch.total, fvcore.total, tolerance):
            differences.append(_from_fvcore(torch, fvcore))
    return Agreement(tuple(compared), tuple(differences))


def kind(operator: str) -> str:
    """Returns what an operator computes, whatever a counter calls it."""
    return next((name for part, name in KINDS.items() if part in operator), "matrix products")


def _apart(counted: float, other: float, tolerance: float) -> bool:
    """Returns whether two counts differ by more than a share of the second."""
    return abs(counted - other) > tolerance * other


def _from_formula(torch: Count, total: float, formula: float) -> Difference:
    """Returns the difference of torch's count to the formula, which has no operators: with all that torch saw."""
    factor = f"{total / formula:.4g} times the formula" if formula else "what the formula does not"
    words = f"torch counts {factor}, {_flops(total - formula)}: {_list(torch.by_operator)}"
    often = sorted(torch.negligible, key=lambda name: (-torch.negligible[name], name))[:MOST_NAMED]
    if total < formula and often:
        words += f"; not counted {', '.join(f'{name} ({torch.negligible[name]}x)' for name in often)}"
    return Difference("torch", "formula", total - formula, words)


def _from_fvcore(torch: Count, fvcore: Count) -> Difference:
    """Returns the difference of torch's count to fvcore's, by what the operators compute."""
    missing = (torch.total or 0) - (fvcore.total or 0)
    names = {kind(name): None for name in (*torch.by_operator, *fvcore.by_operator)}
    parts = []
    for name in names:
        ours, theirs = ({op: n for op, n in c.by_operator.items() if kind(op) == name} for c in (torch, fvcore))
        more = sum(ours.values()) - sum(theirs.values())
        if more:
            parts.append(f"{name} {_flops(more)} (torch {_list(ours)}, fvcore {_list(theirs)})")
    words = f"torch counts {_flops(missing)} than fvcore: {', '.join(parts) or 'operators not known'}"
    return Difference("torch", "fvcore", missing, words)


def _flops(more: float) -> str:
    """Returns a difference in words."""
    return f"{units.format_value(abs(more), 'FLOP')} {'more' if more > 0 else 'fewer'}"


def _list(by_operator: Mapping[str, float]) -> str:
    """Returns operators with their FLOPs, the largest first."""
    ordered = sorted(by_operator.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {units.format_value(flops, 'FLOP')}" for name, flops in ordered) or "none"
