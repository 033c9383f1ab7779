"""What a claim about routing is held against: Soft MoE without its learned mixing, dense layers of equal size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import costs
from bench.layers.layer import ORACLE, Layer
from bench.layers.limits import too_many_choices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.axes import AxisValue

_SLOTS = ("num_experts", "slots_per_expert", "activation")
_BACKENDS = ("fused", "einsum")


def _identity_impossible(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why a case of the identity has no meaning, or None."""
    slots = int(axes["num_experts"] or 0) * int(axes["slots_per_expert"] or 0)
    if slots != axes["seq_len"]:
        return (
            f"identity needs as many slots as tokens: num_experts * slots_per_expert={slots}, seq_len={axes['seq_len']}"
        )
    return None


ROWS = (
    Layer(
        "identity",
        "Soft MoE, tokens as slots",
        "softmoe_ref.ablations:identity",
        _SLOTS,
        _BACKENDS,
        costs.identity,
        ORACLE,
        _identity_impossible,
    ),
    Layer(
        "uniform",
        "Soft MoE, uniform",
        "softmoe_ref.ablations:uniform",
        _SLOTS,
        _BACKENDS,
        costs.uniform,
        ORACLE,
    ),
    Layer(
        "soft_uniform",
        "Soft MoE, uniform combine",
        "softmoe_ref.ablations:soft_uniform",
        _SLOTS,
        _BACKENDS,
        costs.soft_uniform,
        ORACLE,
    ),
    Layer(
        "uniform_soft",
        "Soft MoE, uniform dispatch",
        "softmoe_ref.ablations:uniform_soft",
        _SLOTS,
        _BACKENDS,
        costs.uniform_soft,
        ORACLE,
    ),
    Layer(
        "dense_active",
        "Dense FFN, active size",
        "softmoe_ref.dense:dense_active",
        ("num_experts", "top_k", "activation"),
        (),
        costs.dense_active,
        ORACLE,
        too_many_choices,
    ),
    Layer(
        "dense_total",
        "Dense FFN, total size",
        "softmoe_ref.dense:dense_total",
        ("num_experts", "activation"),
        (),
        costs.dense_total,
        ORACLE,
    ),
)
