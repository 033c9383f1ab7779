"""Where the tokens of a subject go: its own pass, nothing is timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.worker.finding import Finding, one

if TYPE_CHECKING:
    from bench.records import Task
    from bench.worker.subject import Subject


def observe(subject: Subject, task: Task) -> Finding:
    """Returns drop rate, unrouted rate and load imbalance of one batch; nothing for a layer without routing."""
    del task
    route = getattr(subject.layer, "route", None)
    if route is None:
        return Finding()
    with torch.no_grad():
        decision = route(subject.batches[0])
        if decision is None:
            return Finding()
        load_E = decision.load().double()
    mean = float(load_E.mean())
    return Finding(
        observations=(
            *one("drop_rate", "ratio", decision.drop_rate()),
            *one("unrouted_rate", "ratio", decision.unrouted_rate()),
            *one("load_imbalance", "factor", float(load_E.max()) / mean if mean > 0 else None),
        ),
        facts={"load": [float(value) for value in load_E]},
    )
