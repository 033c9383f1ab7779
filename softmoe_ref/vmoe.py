"""The layer of V-MoE: noisy top-K routing with a softmax over all experts before the choice.

    p = softmax(X W + noise);    y_t = sum over the kept e in top-K(p_t) of p_te f_e(x_t)

Tokens choice as it stands in `softmoe_ref.token_choice`, with the noise and the losses of its training: noise_std / E
times standard normal numbers, in training mode only. An expert takes ceil(N K capacity_factor / E) tokens of a group,
rounded up to a multiple of 4, the default of the authors' code.

Source: Riquelme et al. 2021, arXiv:2106.05974; google-research/vmoe at 942a78b, nn/routing.py
(NoisyTopExpertsPerItemRouter) and moe.py.
"""

import torch

from softmoe_ref.experts import Experts
from softmoe_ref.moe import MoE
from softmoe_ref.token_choice import TokenChoiceRouter


def vmoe(  # noqa: PLR0913 - one keyword per axis of a case
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    top_k: int = 2,
    capacity_factor: float | None = 1.05,
    group_size: int | None = None,
    backend: str = "einsum",
    batch_priority: bool = False,
    activation: str = "gelu",
    noise_std: float = 1.0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a V-MoE layer; its auxiliary losses are `importance` and, where there is noise, `load`.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert.
        num_experts: E.
        top_k: K, the experts that a token asks for.
        capacity_factor: multiplies the places of an even load of all K choices; None for no limit. The default is what
            the authors' configurations train with.
        group_size: the tokens that share places, consecutive in the flattened batch; None for one sequence.
        backend: a key of `softmoe_ref.token_choice.BACKENDS`.
        batch_priority: whether tokens with a high first gate take their places first.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`; the authors' is GELU.
        noise_std: E times the standard deviation of the training noise; 0 for none.
        device: where the weights are.
        dtype: of the weights.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = TokenChoiceRouter(
        d_model,
        num_experts,
        top_k=top_k,
        capacity_factor=capacity_factor,
        group_size=group_size,
        backend=backend,
        batch_priority=batch_priority,
        renormalize=False,
        capacity_rounding="ceil4",
        noise_std=noise_std,
        loss_names=("importance", "load") if noise_std else ("importance",),
        device=device,
        dtype=dtype,
    )
    return MoE("vmoe", router, experts)
