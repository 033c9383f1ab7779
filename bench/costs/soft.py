"""The cost of Soft MoE."""

from __future__ import annotations

from dataclasses import replace

from bench.costs.cost import Axes, Cost, add_up, row_flops, whole

MANY_LOGITS = 2**24
"""Above this number, unnormalised logits are mixed block by block by `fused` on a CPU if they are large."""


def soft(axes: Axes) -> Cost:
    """Soft MoE: E(2DF + F + D) + DEP + 1 parameters, 3 * 2BMDEP + 4BEPDF FLOP.

    Source: arXiv:2308.00951v2 section 2.3, O(mnpd + npk) with its constants: logits, dispatch and combine are products
    of M x D x EP each, and EP slots of each sequence go through an expert. At fixed E * P no FLOP depends on E alone.

    With `active_experts` = k, dispatch, combine and experts are those of kP slots (arXiv:2409.00879, algorithm 1).
    `sdpa` and memory=low never hold the logits, so that dispatch and combine each compute them, and once more going
    back. Of unnormalised logits `fused` may do so too, if there are many: the tokens decide.

    min_bytes is the sum of parameters, x, y, routing weights (BMEP: both softmaxes come from one matrix of logits),
    slots in and out (2BEPD) and hidden (BEPF), each once in the case's dtype. A kernel that keeps a whole intermediate
    in cache can stay below it.
    """
    batch, length = whole(axes, "batch_size"), whole(axes, "seq_len")
    d_model, d_ff = whole(axes, "d_model"), whole(axes, "d_ff")
    experts, slots_per_expert = whole(axes, "num_experts"), whole(axes, "slots_per_expert")
    active = experts if axes.get("active_experts") is None else whole(axes, "active_experts")
    slots, kept = experts * slots_per_expert, active * slots_per_expert
    pair = 2 * batch * length * d_model  # one product of tokens and slots, for each slot
    useful = pair * (slots + 2 * kept) + batch * kept * row_flops(axes)
    again = axes.get("backend") == "sdpa" or axes.get("memory") == "low"
    may_block = axes.get("backend") == "fused" and axes.get("normalize") == "none"
    unknown = may_block and not again and active == experts and batch * length * slots > MANY_LOGITS
    cost = add_up(
        axes,
        experts=experts,
        touched=min(experts, batch * active),
        router=d_model * slots + 1,
        between=batch * length * slots + batch * kept * (2 * d_model + d_ff),
        useful=useful,
        executed=None if unknown else useful + pair * slots * again,
    )
    return replace(cost, repeated_flops=2 * pair * slots * again)
