"""Layers whose tokens go to few experts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench import costs
from bench.layers import limits
from bench.layers.layer import ORACLE, Layer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.axes import AxisValue


BACKENDS = ("grouped", "indexed", "loop", "einsum")
"""The ways to carry tokens to the experts that they chose."""


def token_choice_impossible(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why a tokens-choice case has no meaning, or None."""
    shared = limits.uneven_groups(axes) or limits.too_many_choices(axes)
    if shared:
        return shared
    if axes["capacity_factor"] is not None and costs.capacity(axes) < 1:
        return f"capacity_factor={axes['capacity_factor']} leaves no place for any token"
    return None


def _expert_choice_impossible(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why an experts-choice case has no meaning, or None."""
    uneven = limits.uneven_groups(axes)
    if uneven:
        return uneven
    if axes["capacity_factor"] is None:
        return "experts choice needs a capacity_factor: it decides how many tokens an expert takes"
    room, group = costs.capacity(axes), limits.group_size(axes)
    if not 1 <= room <= group:
        return f"an expert would take {room} tokens of a group of {group}: change capacity_factor or num_experts"
    return None


def _peer_impossible(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why a PEER case has no meaning, or None."""
    experts, top_k, d_ff = (int(axes[name] or 0) for name in ("num_experts", "top_k", "d_ff"))
    if math.isqrt(experts) ** 2 != experts:
        return f"num_experts={experts} is no square number: there is an expert for every pair of sub-keys"
    if d_ff % top_k:
        return f"d_ff={d_ff} is no multiple of top_k={top_k}: it is the hidden neurons of a token, heads * top_k"
    return limits.too_many_choices(axes)


ROWS = (
    Layer(
        "token_choice",
        "Tokens choice (top-k)",
        "softmoe_ref.token_choice:token_choice",
        (
            "num_experts",
            "top_k",
            "capacity_factor",
            "group_size",
            "batch_priority",
            "renormalize",
            "capacity_rounding",
            "activation",
        ),
        BACKENDS,
        costs.token_choice,
        ORACLE,
        token_choice_impossible,
    ),
    Layer(
        "expert_choice",
        "Experts choice",
        "softmoe_ref.expert_choice:expert_choice",
        ("num_experts", "capacity_factor", "group_size", "capacity_rounding", "activation"),
        ("indexed", "einsum"),
        costs.expert_choice,
        ORACLE,
        _expert_choice_impossible,
    ),
    Layer(
        "peer",
        "PEER (product keys)",
        "softmoe_ref.peer:peer",
        ("num_experts", "top_k"),
        ("bag", "indexed", "einsum"),
        costs.peer,
        ORACLE,
        _peer_impossible,
    ),
)
