"""The layer of GShard: each token goes to its two best experts, whose gates are divided by their sum.

    p = softmax(X W);    y_t = sum over the kept e of the two best of p_te / (p_te1 + p_te2) f_e(x_t)

Tokens choice with K = 2 and renormalised gates. An expert takes ceil(2 N capacity_factor / E) tokens of a group, first
choices before second ones; the gate of a choice that overflows is lost, not handed to the other.

Source: Lepikhin et al. 2020, arXiv:2006.16668, algorithm 1, with one choice of ours: a token always asks for both
experts. Other code can also let it go without the second at random, the likelier the lower that gate
(`second_expert_policy="random"` in transformers' NllbMoe); without that, training does the same work as evaluation.
"""

import torch

from softmoe_ref.experts import Experts
from softmoe_ref.moe import MoE
from softmoe_ref.token_choice import TokenChoiceRouter


def gshard(  # noqa: PLR0913 - one keyword per axis of a case
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    capacity_factor: float | None = 1.0,
    group_size: int | None = None,
    backend: str = "einsum",
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a GShard layer; its auxiliary loss is `gshard`.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert.
        num_experts: E, at least 2.
        capacity_factor: multiplies the places of an even load of both choices; None for no limit.
        group_size: the tokens that share places, consecutive in the flattened batch; None for one sequence.
        backend: a key of `softmoe_ref.token_choice.BACKENDS`.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`; GELU as in the other layers here, so that they
            compare.
        device: where the weights are.
        dtype: of the weights.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = TokenChoiceRouter(
        d_model,
        num_experts,
        top_k=2,
        capacity_factor=capacity_factor,
        group_size=group_size,
        backend=backend,
        batch_priority=False,
        renormalize=True,
        capacity_rounding="ceil",
        loss_names=("gshard",),
        device=device,
        dtype=dtype,
    )
    return MoE("gshard", router, experts)
