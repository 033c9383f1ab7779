"""The cost of Soft MoE."""

from __future__ import annotations

from bench.costs.cost import Axes, Cost, add_up, row_flops, whole


def soft(axes: Axes) -> Cost:
    """Soft MoE: E(2DF + F + D) + DEP + 1 parameters, 3 * 2BMDEP + 4BEPDF FLOP.

    Source: arXiv:2308.00951v2 section 2.3, O(mnpd + npk) with its constants: logits, dispatch and combine are products
    of M x D x EP each, and EP slots of each sequence go through an expert. At fixed E * P no FLOP depends on E alone.
    All backends compute these products.

    min_bytes is the sum of parameters, x, y, routing weights (BMEP: both softmaxes come from one matrix of logits),
    slots in and out (2BEPD) and hidden (BEPF), each once in the case's dtype. A kernel that keeps a whole intermediate
    in cache can stay below it.
    """
    batch, length = whole(axes, "batch_size"), whole(axes, "seq_len")
    d_model, d_ff = whole(axes, "d_model"), whole(axes, "d_ff")
    experts = whole(axes, "num_experts")
    slots = experts * whole(axes, "slots_per_expert")
    flops = 3 * 2 * batch * length * d_model * slots + batch * slots * row_flops(axes)
    between = batch * length * slots + batch * slots * (2 * d_model + d_ff)
    return add_up(axes, experts=experts, router=d_model * slots + 1, between=between, useful=flops, executed=flops)
