"""The cost of SMEAR."""

from __future__ import annotations

from bench.costs.cost import Axes, Cost, add_up, expert_parameters, row_flops, whole


def smear(axes: Axes) -> Cost:
    """SMEAR: E(2DF + F + D) + DE + 3D parameters, 2BDE + 2BE(2DF + F + D) + 4BMDF FLOP.

    The router sees one mean per sequence; each sequence's expert is a weighted sum of all parameters of all experts
    (arXiv:2306.03745), which is a product of B x E with them, biases included; then every token goes through one
    feed-forward network.

    min_bytes is the sum of parameters, x, y, mixtures (BE), merged experts and hidden (BMF), each once.
    """
    batch, length = whole(axes, "batch_size"), whole(axes, "seq_len")
    d_model, experts = whole(axes, "d_model"), whole(axes, "num_experts")
    expert = expert_parameters(axes)
    flops = 2 * batch * experts * (d_model + expert) + batch * length * row_flops(axes)
    between = batch * (experts + expert + length * whole(axes, "d_ff"))
    router = d_model * experts + 3 * d_model
    return add_up(axes, experts=experts, router=router, between=between, useful=flops, executed=flops)
