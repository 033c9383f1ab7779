"""Figures without noise, held against each other as they are: parameters, FLOPs, bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.verdicts import Change, family

if TYPE_CHECKING:
    from collections.abc import Mapping

EXACT = {
    "parameters": "count",
    "parameter_memory": "B",
    "optimizer_memory": "B",
    "saved_memory": "B",
    "flops_torch": "FLOP",
    "flops_fvcore": "FLOP",
}
"""Metrics that the same code gives again to the last digit, with their units."""

COUNTED = {"peak_memory": "B", "activation_memory": "B"}
"""Metrics that an allocator counts on a GPU; on a CPU they are the high-water mark of a process, in pages."""

METRICS = EXACT | COUNTED

PAGES = 2 * 2**20
"""Bytes by which a CPU's high-water mark differs from process to process, of unchanged code."""

SHARE = 0.05
"""The same as a share of the mark: allocators round large blocks."""


def changes(
    base: Mapping[str, float],
    candidate: Mapping[str, float],
    *,
    device: str,
    thresholds: Mapping[str, float] | None = None,
) -> tuple[Change, ...]:
    """Returns what both sides know and what differs; on a CPU its memory only where that is more than its noise.

    A figure that grew is worse, unless `thresholds` allow its family (memory, flops, parameters) so large a share.
    """
    allowed = thresholds or {}
    found = []
    for metric, unit in METRICS.items():
        a, b = base.get(metric), candidate.get(metric)
        if a is None or b is None or a == b:
            continue
        if metric in COUNTED and device == "cpu" and abs(b - a) <= max(PAGES, SHARE * max(a, b)):
            continue
        found.append(Change(metric, unit, a, b, worse=b > a * (1 + allowed.get(family(metric) or "", 0.0))))
    return tuple(found)
