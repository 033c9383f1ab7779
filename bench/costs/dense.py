"""The cost of a dense feed-forward layer."""

from __future__ import annotations

from bench.costs.cost import Axes, Cost, add_up, row_flops, whole


def dense(axes: Axes) -> Cost:
    """One feed-forward layer: 2DF + F + D parameters, 4BMDF FLOP (two products of BM rows)."""
    tokens = whole(axes, "batch_size") * whole(axes, "seq_len")
    d_ff = whole(axes, "d_ff")
    flops = tokens * row_flops(axes)
    return add_up(axes, experts=1, router=0, between=tokens * d_ff, useful=flops, executed=flops)
