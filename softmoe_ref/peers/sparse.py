"""Sparse layers of other packages: Mixtral's block, and two layers that refuse tokens at random.

Sources: transformers 5.23.0 (Hugging Face, Apache-2.0), models/mixtral, after Jiang et al. 2024, arXiv:2401.04088;
mixture-of-experts 0.2.3 and st-moe-pytorch 0.1.8 (Phil Wang, MIT), after Lepikhin et al. 2020, arXiv:2006.16668
(GShard) and Zoph et al. 2022, arXiv:2202.08906 (ST-MoE).
"""

from typing import Final, final

import torch
from torch import Tensor, nn

from softmoe_ref import arguments
from softmoe_ref.dropless import assign
from softmoe_ref.moe import MoE
from softmoe_ref.peers.peer import Peer, hide_if_broken, load
from softmoe_ref.routing import Assignments
from softmoe_ref.token_choice import token_choice

MIXTRAL_BACKENDS: Final = ("eager", "grouped_mm")


@final
class Mixtral(Peer):
    """`MixtralSparseMoeBlock` of transformers; its twin is dropless `token_choice` with renormalised gates and SwiGLU.

    The block leaves its weights unset, since its model draws them; here they are drawn as ours.
    """

    def route(self, x: Tensor) -> Assignments:
        """Return the block's own decision for the tokens `x` (B, M, D)."""
        logits_TE, gate_TK, expert_TK = self.layer.gate(x)
        gates_TE = logits_TE.float().softmax(1)
        shape = (x.shape[0], x.shape[1])
        return assign(shape, expert_TK.unsqueeze(0), gate_TK.unsqueeze(0), gates_TE.unsqueeze(0))

    def twin(self) -> MoE:
        """Return `token_choice`, dropless, with renormalize=True and activation="swiglu"."""
        weight_ED = self.layer.gate.weight.detach().double()
        w1_EDF = self.layer.experts.gate_up_proj.detach().double().transpose(1, 2)
        w2_EFD = self.layer.experts.down_proj.detach().double().transpose(1, 2)
        ours = _mixtral_form(
            d_model=w2_EFD.shape[2],
            d_ff=w2_EFD.shape[1],
            num_experts=len(weight_ED),
            top_k=self.layer.top_k,
            device=weight_ED.device,
            dtype=torch.float64,
        )
        ours.load_state_dict({"router.weight": weight_ED.T, "experts.w1": w1_EDF, "experts.w2": w2_EFD})
        return ours


@final
class RandomSecondExpert(Peer):
    """A layer that tosses a coin for every further expert of a token, in evaluation too, and so has no twin.

    It returns its auxiliary losses beside the output; they are left out here.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output (B, M, D) without its losses."""
        y: Tensor = self.layer(x)[0]
        return y

    def twin(self) -> MoE:
        """Raise ValueError: no layer of ours refuses tokens at random."""
        raise ValueError(f"{type(self.layer).__module__} has no twin: it refuses tokens at random")


def _mixtral_form(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    top_k: int,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return the layer of ours that computes what Mixtral's block does."""
    return token_choice(
        d_model=d_model,
        d_ff=d_ff,
        num_experts=num_experts,
        top_k=top_k,
        renormalize=True,
        activation="swiglu",
        device=device,
        dtype=dtype,
    )


def mixtral_transformers(
    *, d_model: int, d_ff: int, num_experts: int, top_k: int = 2, backend: str = "eager"
) -> Mixtral:
    """Return Mixtral's sparse block of transformers, its experts computed by the named implementation."""
    arguments.one_of("backend", backend, MIXTRAL_BACKENDS)
    hide_if_broken("torchvision")  # transformers uses it for images, and fails beside one built for another torch
    config = load("transformers.models.mixtral.configuration_mixtral").MixtralConfig(
        hidden_size=d_model,
        intermediate_size=d_ff,
        num_local_experts=num_experts,
        num_experts_per_tok=top_k,
        experts_implementation=backend,
    )
    block = load("transformers.models.mixtral.modeling_mixtral").MixtralSparseMoeBlock(config)
    drawn = _mixtral_form(d_model=d_model, d_ff=d_ff, num_experts=num_experts, top_k=top_k).state_dict()
    block.load_state_dict(
        {
            "gate.weight": drawn["router.weight"].T,
            "experts.gate_up_proj": drawn["experts.w1"].transpose(1, 2),
            "experts.down_proj": drawn["experts.w2"].transpose(1, 2),
        }
    )
    return Mixtral(block)


def mixture_of_experts(*, d_model: int, d_ff: int, num_experts: int) -> RandomSecondExpert:
    """Return the layer of mixture-of-experts: two ReLU experts without biases per token, its own capacities."""
    return RandomSecondExpert(load("mixture_of_experts").MoE(d_model, num_experts=num_experts, hidden_dim=d_ff))


def st_moe_pytorch(*, d_model: int, d_ff: int, num_experts: int, top_k: int = 2) -> RandomSecondExpert:
    """Return the layer of st-moe-pytorch: GEGLU experts of hidden width `d_ff`, its own capacities."""
    layer: nn.Module = load("st_moe_pytorch").MoE(
        d_model,
        num_experts=num_experts,
        gating_top_n=top_k,
        expert_hidden_mult=1.5 * (d_ff + 0.5) / d_model,  # the package truncates two thirds of d_model * this
    )
    return RandomSecondExpert(layer)
