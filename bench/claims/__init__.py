"""The claims, in the order of the report: one file each, one line here."""

from __future__ import annotations

from bench.claims import (
    complexity,
    dropping,
    expert_scaling,
    implementations,
    inference,
    model_costs,
    norm,
    subsets,
    training_costs,
)
from bench.claims.claim import Claim, Judged, Verdict, judge

TABLE: dict[str, Claim] = {
    claim.name: claim
    for claim in (
        model_costs.CLAIM,
        training_costs.CLAIM,
        expert_scaling.CLAIM,
        inference.CLAIM,
        dropping.CLAIM,
        complexity.CLAIM,
        norm.CLAIM,
        subsets.CLAIM,
        implementations.CLAIM,
    )
}

__all__ = ["TABLE", "Claim", "Judged", "Verdict", "judge"]
