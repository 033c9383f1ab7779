"""The cost of PEER."""

from __future__ import annotations

import math

from bench.costs.cost import Axes, Cost, add_up, tokens, whole

WIDEST_KEY = 128
"""The widest half of a query, as in softmoe_ref.peer."""


def peer(axes: Axes) -> Cost:
    """PEER: 2ED + 2DHC + 2QC parameters, 4BMDHC + 4BMHCQ + 4BMDF useful FLOP.

    H = F / K heads, Q = sqrt(E) sub-keys of each half, C = min(ceil(D / 2), 128) their width. The queries, their
    products with both sets of sub-keys, and two products of width D for each of the F neurons that a token retrieves
    (arXiv:2407.04153, section 2). `bag` and `indexed` compute just that; `einsum` computes all E neurons instead of F.

    min_bytes is the sum of parameters (of as many experts as can be retrieved), x, y, queries (2BMHC), their scores
    (2BMHQ), gates and hidden (BMF each).

    Raises:
        ValueError: E is no square number, or F no multiple of K.
    """
    count = tokens(axes)
    d_model, d_ff = whole(axes, "d_model"), whole(axes, "d_ff")
    experts, top_k = whole(axes, "num_experts"), whole(axes, "top_k")
    sub_keys, width = math.isqrt(experts), min((d_model + 1) // 2, WIDEST_KEY)
    if sub_keys**2 != experts or d_ff % top_k:
        raise ValueError(f"num_experts {experts} must be a square number and d_ff {d_ff} a multiple of top_k {top_k}")
    queries = 2 * (d_ff // top_k) * width
    router = 2 * count * queries * (d_model + sub_keys)
    neuron = 4 * count * d_model
    computed = {"einsum": experts, "indexed": d_ff, "bag": d_ff}.get(str(axes.get("backend")))
    return add_up(
        axes,
        experts=experts,
        expert=2 * d_model,
        touched=min(experts, count * d_ff),
        router=d_model * queries + 2 * sub_keys * width,
        between=count * (queries + 2 * (d_ff // top_k) * sub_keys + 2 * d_ff),
        useful=router + neuron * d_ff,
        executed=None if computed is None else router + neuron * computed,
    )
