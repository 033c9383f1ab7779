"""The costs of Soft MoE's ablations."""

from __future__ import annotations

from bench.costs.cost import Axes, Cost, add_up, row_flops, whole


def identity(axes: Axes) -> Cost:
    """Tokens as slots: E(2DF + F + D) parameters, 4BEPDF useful FLOP, where EP = M; see `_ablation`."""
    if whole(axes, "seq_len") != whole(axes, "num_experts") * whole(axes, "slots_per_expert"):
        raise ValueError(f"identity needs seq_len = num_experts * slots_per_expert, got {axes['seq_len']}")
    return _ablation(axes, learned=0, averaged=0)


def uniform(axes: Axes) -> Cost:
    """Means on both sides: E(2DF + F + D) parameters, 4BEPDF useful FLOP, see `_ablation`."""
    return _ablation(axes, learned=0, averaged=2)


def soft_uniform(axes: Axes) -> Cost:
    """Learned dispatch: E(2DF + F + D) + DEP + 1 parameters, 2 * 2BMDEP + 4BEPDF useful FLOP, see `_ablation`."""
    return _ablation(axes, learned=1, averaged=1)


def uniform_soft(axes: Axes) -> Cost:
    """Learned combine: E(2DF + F + D) + DEP + 1 parameters, 2 * 2BMDEP + 4BEPDF useful FLOP, see `_ablation`."""
    return _ablation(axes, learned=1, averaged=1)


def _ablation(axes: Axes, *, learned: int, averaged: int) -> Cost:
    """The cost of Soft MoE (arXiv:2308.00951v2, appendix A) with a softmax on `learned` of its two sides.

    A learned side costs its product, 2BMDEP, and the logits once more as much. A fixed side is no product: a mean or
    a change of shape. `einsum` computes it as one nevertheless, 2BMDEP, and its weights take no gradient. All EP slots
    go through an expert, equal ones too.

    min_bytes is the sum of parameters, x, y, routing weights (BMEP) where a side is learned, the means (BD each for
    `averaged` sides), and of slots in and out (2BEPD) and hidden (BEPF), each once.
    """
    batch, length, d_model = whole(axes, "batch_size"), whole(axes, "seq_len"), whole(axes, "d_model")
    experts = whole(axes, "num_experts")
    slots = experts * whole(axes, "slots_per_expert")
    product = 2 * batch * length * d_model * slots
    useful = 2 * learned * product + batch * slots * row_flops(axes)
    written_out = (2 - learned) * product if axes.get("backend") == "einsum" else 0
    between = learned * batch * length * slots + averaged * batch * d_model
    between += batch * slots * (2 * d_model + whole(axes, "d_ff"))
    return add_up(
        axes,
        experts=experts,
        router=learned * (d_model * slots + 1),
        between=between,
        useful=useful,
        executed=useful + written_out,
        one_sided=written_out,
    )
