"""The dense layer and the soft ones: nothing is routed away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import costs
from bench.layers.layer import ORACLE, Layer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.axes import AxisValue


def _soft_impossible(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why a Soft MoE case has no meaning, or None."""
    active, low = axes.get("active_experts"), axes.get("memory") == "low"
    if active is not None and int(active) > int(axes["num_experts"] or 0):
        return f"active_experts={active} is more than num_experts={axes['num_experts']}"
    if active is not None and low:
        return "active_experts and memory=low cannot be asked at once"
    if (active is not None or low) and axes["backend"] != "fused":
        return f"only backend fused takes {'memory=low' if low else 'active_experts'}, not {axes['backend']}"
    if active is None and (axes.get("renormalize_active") or axes.get("subset_choice") == "random"):
        return "renormalize_active and subset_choice say something of active_experts, which is none"
    return None


ROWS = (
    Layer("dense", "Dense FFN", "softmoe_ref.dense:dense", ("activation",), (), costs.dense, ORACLE),
    Layer(
        "soft",
        "Soft MoE",
        "softmoe_ref.soft:soft",
        (
            "num_experts",
            "slots_per_expert",
            "memory",
            "active_experts",
            "subset_choice",
            "renormalize_active",
            "normalize",
            "activation",
        ),
        ("fused", "einsum", "sdpa", "compile"),
        costs.soft,
        ORACLE,
        _soft_impossible,
    ),
    Layer(
        "smear",
        "SMEAR (merged experts)",
        "softmoe_ref.smear:smear",
        ("num_experts", "activation"),
        (),
        costs.smear,
        ORACLE,
    ),
)
