"""Layers whose tokens go to few experts, however many want the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import costs
from bench.layers.layer import ORACLE, Layer
from bench.layers.sparse import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.axes import AxisValue


def _deepseek_impossible(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why a DeepSeekMoE case has no meaning, or None."""
    experts, top_k = int(axes["num_experts"] or 0), int(axes["top_k"] or 0)
    groups, top_groups = int(axes["expert_groups"] or 0), int(axes["top_groups"] or 0)
    if experts % groups:
        return f"expert_groups={groups} does not divide num_experts={experts}"
    if top_groups > groups:
        return f"top_groups={top_groups} is more than expert_groups={groups}"
    choice = top_groups * experts // groups
    if top_k > choice:
        return f"top_k={top_k} is more than the {choice} experts of top_groups={top_groups}"
    return None


def _remoe_impossible(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why a ReMoE case has no meaning, or None."""
    if int(axes["top_k"] or 0) >= int(axes["num_experts"] or 0):
        return f"top_k={axes['top_k']} is not below num_experts={axes['num_experts']}"
    return None


ROWS = (
    Layer(
        "deepseek",
        "DeepSeekMoE (shared and routed experts)",
        "softmoe_ref.deepseek:deepseek",
        ("num_experts", "top_k", "num_shared_experts", "expert_groups", "top_groups", "activation"),
        BACKENDS,
        costs.deepseek,
        ORACLE,
        _deepseek_impossible,
    ),
    Layer(
        "hash_routing",
        "Hash routing",
        "softmoe_ref.hash_routing:hash_routing",
        ("num_experts", "activation"),
        BACKENDS,
        costs.hash_routing,
        ORACLE,
    ),
    Layer(
        "balanced_assignment",
        "Balanced assignment (BASE, S-BASE)",
        "softmoe_ref.balanced_assignment:balanced_assignment",
        ("num_experts", "assignment", "activation"),
        BACKENDS,
        costs.balanced_assignment,
        ORACLE,
    ),
    Layer(
        "remoe",
        "ReMoE (ReLU routing)",
        "softmoe_ref.remoe:remoe",
        ("num_experts", "top_k", "activation"),
        ("grouped", "loop", "einsum"),
        costs.remoe,
        ORACLE,
        _remoe_impossible,
    ),
)
