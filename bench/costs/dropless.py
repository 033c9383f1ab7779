"""The costs of layers that send every token where it wants: DeepSeekMoE, hash routing, balanced assignment, ReMoE.

The load, and with it the length of a padded buffer, is what the data makes it; see `sparse` for the other words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.costs.cost import add_up, choices, expert_parameters, row_flops, tokens, whole
from bench.costs.sparse import PADDED_BACKENDS, RAGGED_BACKENDS

if TYPE_CHECKING:
    from bench.costs.cost import Axes, Cost


def deepseek(axes: Axes) -> Cost:
    """DeepSeekMoE: E(2DF + F + D) + DE parameters and those of one expert of hidden width SF, for S shared experts.

    Useful FLOP 2TDE + 4TKDF + 4TSDF (SwiGLU 6 in place of 4); `grouped` and `loop` execute exactly these, the padded
    rows of the other backends are decided by the data. The bias of the choice is no parameter. min_bytes as for
    `token_choice`, with the hidden rows and the outputs of the shared experts.
    """
    router = whole(axes, "d_model") * whole(axes, "num_experts")
    shared = whole(axes, "num_shared_experts", least=0)
    return _dropless(axes, top_k=choices(axes), router=router, shared=shared)


def hash_routing(axes: Axes) -> Cost:
    """Hash routing: E(2DF + F + D) parameters, 4TDF useful FLOP: a hash is no product. Otherwise as `deepseek`."""
    return _dropless(axes, top_k=1, router=0)


def balanced_assignment(axes: Axes) -> Cost:
    """Balanced assignment: E(2DF + F + D) + DE parameters, 2TDE + 4TDF useful FLOP; assignments have no product.

    In training `auction` gives each expert at most ceil(T / E) tokens, so that the padded buffers have E ceil(T / E)
    places, and the one-hot products of `einsum` cost 2TE ceil(T / E) D each: its group is the whole batch. Otherwise
    as `deepseek`.
    """
    experts = whole(axes, "num_experts")
    places = None
    if axes.get("assignment") == "auction" and axes.get("mode", "forward") != "forward":
        places = -(-tokens(axes) // experts)
    return _dropless(axes, top_k=1, router=whole(axes, "d_model") * experts, places=places)


def remoe(axes: Axes) -> Cost:
    """ReMoE: E(2DF + F + D) + DE + E parameters; the tokens decide how many experts work, so what is useful is None.

    `einsum` executes 2TDE for the logits, 4TEDF for all experts on all tokens and 2TED to add them up.
    """
    experts, d_model = whole(axes, "num_experts"), whole(axes, "d_model")
    top_k = whole(axes, "top_k")
    if top_k >= experts:
        raise ValueError(f"top_k {top_k} is not below num_experts {experts}")
    everything = tokens(axes) * experts * (4 * d_model + row_flops(axes))
    return add_up(
        axes,
        experts=experts,
        router=(d_model + 1) * experts,
        between=None,
        useful=None,
        executed=everything if axes.get("backend") == "einsum" else None,
    )


def _dropless(axes: Axes, *, top_k: int, router: int, shared: int = 0, places: int | None = None) -> Cost:
    """The cost of `top_k` experts per token, `router` numbers that each token is multiplied with, and shared experts.

    `places` is the length of each expert's buffer in a padded backend, where that is known.
    """
    count, experts = tokens(axes), whole(axes, "num_experts")
    d_model, d_ff = whole(axes, "d_model"), whole(axes, "d_ff")
    everyone = {**axes, "d_ff": shared * d_ff} if shared else None
    fixed = 2 * count * router + (0 if everyone is None else count * row_flops(everyone))
    rows = count * top_k
    backend = axes.get("backend")
    one_hot, computed = 0, None
    if backend in PADDED_BACKENDS and places is not None:
        computed = experts * places
        one_hot = 2 * count * computed * d_model if backend == "einsum" else 0
    elif backend in RAGGED_BACKENDS:
        computed = rows
    return add_up(
        axes,
        experts=experts,
        touched=min(experts, rows),
        router=router + (0 if everyone is None else expert_parameters(everyone)),
        between=(count * experts if router else 0)
        + rows * (2 * d_model + d_ff)
        + (count * (shared * d_ff + d_model) if shared else 0),
        useful=fixed + rows * row_flops(axes),
        executed=None if computed is None else fixed + computed * row_flops(axes) + 2 * one_hot,
        one_sided=one_hot,
    )
