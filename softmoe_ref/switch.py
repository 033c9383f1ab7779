"""The layer of the Switch Transformer: each token goes to its one best expert, weighted by that expert's gate.

    p = softmax(X W);    y_t = p_te f_e(x_t)  for e = argmax p_t, as long as expert e has room

Tokens choice with K = 1. The gate is the softmax over all experts and is not renormalised: divided by itself it would
be 1, and the router would learn nothing from the output. An expert takes ceil(N capacity_factor / E) tokens of a group
in the order of the tokens; an overflowing token has output 0.

Source: Fedus, Zoph and Shazeer 2021, arXiv:2101.03961, section 2. The activation is ours, see `switch`.
"""

import torch

from softmoe_ref.experts import Experts
from softmoe_ref.moe import MoE
from softmoe_ref.token_choice import TokenChoiceRouter


def switch(  # noqa: PLR0913 - one keyword per axis of a case
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    capacity_factor: float | None = 1.25,
    group_size: int | None = None,
    backend: str = "einsum",
    activation: str = "gelu",
    jitter: float = 0.01,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a Switch layer; its auxiliary loss is `load_balance`.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert.
        num_experts: E, the paper's N.
        capacity_factor: multiplies the places of an even load; None for no limit, which the paper does not have.
        group_size: the tokens that share places, consecutive in the flattened batch; None for one sequence.
        backend: a key of `softmoe_ref.token_choice.BACKENDS`.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`; GELU as in the other layers here, so that they
            compare.
        jitter: in training, the router sees the tokens times uniform numbers from 1 - jitter to 1 + jitter; the default
            is that of the released checkpoints (`router_jitter_noise` of google/switch-base-256), 0 is none.
        device: where the weights are.
        dtype: of the weights.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = TokenChoiceRouter(
        d_model,
        num_experts,
        top_k=1,
        capacity_factor=capacity_factor,
        group_size=group_size,
        backend=backend,
        batch_priority=False,
        renormalize=False,
        capacity_rounding="ceil",
        jitter=jitter,
        loss_names=("load_balance",),
        device=device,
        dtype=dtype,
    )
    return MoE("switch", router, experts)
