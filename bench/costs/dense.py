"""The costs of a dense feed-forward layer, and of those at the size of a sparse one."""

from __future__ import annotations

from bench.costs.cost import Axes, Cost, add_up, expert_parameters, row_flops, whole


def dense(axes: Axes) -> Cost:
    """One feed-forward layer: 2DF + F + D parameters, 4BMDF FLOP (two products of BM rows)."""
    tokens = whole(axes, "batch_size") * whole(axes, "seq_len")
    d_ff = whole(axes, "d_ff")
    flops = tokens * row_flops(axes)
    return add_up(axes, experts=1, router=0, between=tokens * d_ff, useful=flops, executed=flops)


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
    experts, top_k = whole(axes, "num_experts"), whole(axes, "top_k")
    if top_k > experts:
        raise ValueError(f"top_k {top_k} is more than num_experts {experts}")
    return dense({**axes, "d_ff": matched_width(axes, top_k)})


def dense_total(axes: Axes) -> Cost:
    """The cost of `dense` with the parameters of all experts and their router, to the nearest hidden unit."""
    return dense({**axes, "d_ff": matched_width(axes, whole(axes, "num_experts"))})
