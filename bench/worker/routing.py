"""Where the tokens of a subject go: its own pass, nothing is timed."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import torch

from bench.worker.finding import Finding, one

if TYPE_CHECKING:
    from bench.records import Task
    from bench.worker.subject import Subject


def observe(subject: Subject, task: Task) -> Finding:
    """Returns drop rate, unrouted rate and load imbalance of one batch; nothing for a layer without routing.

    A model returns one decision for each of its MoE blocks; its figures are their means.
    """
    del task
    route = getattr(subject.layer, "route", None)
    if route is None:
        return Finding()
    with torch.no_grad():
        found = route(subject.batches[0])
        if found is None:
            return Finding()
        decisions = found if isinstance(found, tuple) else (found,)
        loads = [decision.load().double() for decision in decisions]
    peaks = [float(load_E.max() / load_E.mean()) for load_E in loads if load_E.any()]
    return Finding(
        observations=(
            *one("drop_rate", "ratio", fmean(decision.drop_rate() for decision in decisions)),
            *one("unrouted_rate", "ratio", fmean(decision.unrouted_rate() for decision in decisions)),
            *one("load_imbalance", "factor", fmean(peaks) if peaks else None),
        ),
        facts={"load": [float(value) for value in loads[0]]} if len(loads) == 1 else {},
    )
