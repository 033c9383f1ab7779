"""The layer of Mixtral: each token goes to its two best experts, nothing is dropped, and the experts are SwiGLU.

    y_t = sum over e in top-2(x_t W) of softmax over the two logits, f_e(x_t) = (silu(x_t u_e) * (x_t v_e)) w2_e

A softmax over the two chosen logits is the softmax over all experts divided by the sum of the two chosen gates, which
is how it is computed here: the auxiliary loss needs the softmax over all experts anyway.

Source: Jiang et al. 2024, arXiv:2401.04088, section 2.1. The auxiliary loss is our choice: `load_balance` over each
sequence, that of Switch for two choices.
"""

import torch

from softmoe_ref.experts import Experts
from softmoe_ref.moe import MoE
from softmoe_ref.token_choice import TokenChoiceRouter


def mixtral(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    backend: str = "grouped",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a Mixtral layer; its auxiliary loss is `load_balance`.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert.
        num_experts: E, at least 2.
        backend: a key of `softmoe_ref.token_choice.BACKENDS`. The default pads nothing and waits for no device.
        device: where the weights are.
        dtype: of the weights.
    """
    experts = Experts(num_experts, d_model, d_ff, activation="swiglu", device=device, dtype=dtype)
    router = TokenChoiceRouter(
        d_model,
        num_experts,
        top_k=2,
        capacity_factor=None,
        group_size=None,
        backend=backend,
        batch_priority=False,
        renormalize=True,
        capacity_rounding="ceil",
        loss_names=("load_balance",),
        device=device,
        dtype=dtype,
    )
    return MoE("mixtral", router, experts)
