"""The dense layer and the soft ones: nothing is routed away."""

from __future__ import annotations

from bench import costs
from bench.layers.layer import ORACLE, Layer

ROWS = (
    Layer("dense", "Dense FFN", "softmoe_ref.dense:dense", ("activation",), (), costs.dense, ORACLE),
    Layer(
        "soft",
        "Soft MoE",
        "softmoe_ref.soft:soft",
        ("num_experts", "slots_per_expert", "normalize", "activation"),
        ("fused", "einsum"),
        costs.soft,
        ORACLE,
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
