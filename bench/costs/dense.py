"""The costs of a dense feed-forward layer, and of those at the size of a sparse one."""

from __future__ import annotations

from bench.costs.cost import Axes, Cost, add_up, choices, expert_parameters, row_flops, tokens, whole


def dense(axes: Axes) -> Cost:
    """One feed-forward layer: 2DF + F + D parameters, 4BMDF FLOP (two products of BM rows)."""
    flops = tokens(axes) * row_flops(axes)
    hidden = tokens(axes) * whole(axes, "d_ff")
    return add_up(axes, experts=1, router=0, between=hidden, useful=flops, executed=flops)


def matched_width(axes: Axes, counted: int) -> int:
    """Hidden width at which one network has the parameters of `counted` experts and a router together.

    (counted * (F(2D + 1) + D) + DE - D) / (2D + 1), SwiGLU (counted * 3DF + DE) / 3D, to the nearest whole number,
    upwards from the middle: softmoe_ref.dense.matched_width.
    """
    d_model = whole(axes, "d_model")
    unit, bias = (3 * d_model, 0) if axes.get("activation") == "swiglu" else (2 * d_model + 1, d_model)
    parameters = counted * expert_parameters(axes) + d_model * whole(axes, "num_experts")
    return (2 * (parameters - bias) + unit) // (2 * unit)


def dense_active(axes: Axes) -> Cost:
    """The cost of `dense` with the parameters of top_k experts and their router, to the nearest hidden unit."""
    return dense({**axes, "d_ff": matched_width(axes, choices(axes))})


def dense_total(axes: Axes) -> Cost:
    """The cost of `dense` with the parameters of all experts and their router, to the nearest hidden unit."""
    return dense({**axes, "d_ff": matched_width(axes, whole(axes, "num_experts"))})
