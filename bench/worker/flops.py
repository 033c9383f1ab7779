"""FLOPs of one call as two counters see them, and what they did not see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import counts
from bench.counts import Count
from bench.records import Flag
from bench.worker import fvcore_count, torch_count
from bench.worker.finding import Finding, one

if TYPE_CHECKING:
    from bench.records import Task
    from bench.worker.subject import Subject


def observe(subject: Subject, task: Task) -> Finding:
    """Returns FLOPs of one call by torch's counter, and by fvcore where the mode is a forward pass."""
    mode = task.case["mode"]
    traced = mode == "forward"
    by_torch = torch_count.count(subject)
    by_fvcore = (
        fvcore_count.count(subject.layer, subject.batches[0])
        if traced
        else Count(refused=f"fvcore traces a forward pass only, and this is {mode}")
    )
    failed = {"torch": by_torch, "fvcore": by_fvcore} if traced else {"torch": by_torch}
    words = [
        count.refused or f"{name} cannot count {', '.join(sorted(count.uncounted))}"
        for name, count in failed.items()
        if count.total is None
    ]
    return Finding(
        observations=one("flops_torch", "FLOP", by_torch.total) + one("flops_fvcore", "FLOP", by_fvcore.total),
        flags=(Flag("counter_incomplete", "; ".join(words)),) if words else (),
        facts=counts.facts({"torch": by_torch, "fvcore": by_fvcore}),
    )
