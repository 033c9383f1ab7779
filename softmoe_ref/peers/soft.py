"""Soft MoE layers of other packages: three readings of Puigcerver et al. 2023, arXiv:2308.00951.

Sources: soft-moe-pytorch 0.1.9 (Phil Wang, MIT), soft-mixture-of-experts 0.2.0 (Frank Odom, MIT), soft-moe 0.0.1
(Ben Conrad, Apache-2.0).
"""

from functools import partial
from typing import Final, final

import torch
from torch import Tensor, nn

from softmoe_ref.moe import MoE
from softmoe_ref.peers.peer import Peer, load, load_alone
from softmoe_ref.soft import soft

TANH_GELU: Final = partial(nn.GELU, approximate="tanh")  # the form of our experts


@final
class SoftMoEPytorch(Peer):
    """`SoftMoE` of soft-moe-pytorch; its twin is `soft` with normalize="tokens", while both gammas are 1.

    Tokens and slots are scaled to length sqrt(D) by an RMSNorm each, so that the logits are D times a cosine, without a
    parameter for the temperature, and the slots mix the scaled tokens. The twin has scale D, and sqrt(D) in its w1.
    """

    def twin(self) -> MoE:
        """Return `soft` with normalize="tokens".

        Raises:
            ValueError: if a gamma is not 1: `soft` has no weight per coordinate of a token.
        """
        if any(bool((norm.gamma != 1).any()) for norm in (self.layer.norm, self.layer.slot_norm)):
            raise ValueError("the gammas of soft-moe-pytorch must be 1 for it to have a twin, got others")
        slots_EPD = self.layer.slot_embeds.detach().double()
        d_model = slots_EPD.shape[2]
        experts = _stacked([(expert[0], expert[3]) for expert in self.layer.experts.experts])
        experts["experts.w1"] *= d_model**0.5
        scale = torch.tensor(d_model, dtype=torch.float64, device=slots_EPD.device)
        return _soft("tokens", slots_EPD.permute(2, 0, 1), scale, experts)


@final
class SoftMixtureOfExperts(Peer):
    """`SoftMoE` of soft-mixture-of-experts; its twin is `soft` with normalize="none" and scale 1.

    An expert there is a single linear layer. Here it is replaced by two of the package's own stacked linear layers with
    a GELU between, and all weights are drawn as ours: the package divides by d_in * d_out where it means d_in.
    """

    def twin(self) -> MoE:
        """Return `soft` with normalize="none"."""
        first, _, second = self.layer.experts
        pairs = {"w1": first.weight, "b1": first.bias, "w2": second.weight, "b2": second.bias}
        experts = {f"experts.{name}": weight.detach().double() for name, weight in pairs.items()}
        phi_DEP = self.layer.phi.detach().double()
        return _soft("none", phi_DEP, phi_DEP.new_ones(()), experts)


@final
class SoftMoEBwconrad(Peer):
    """`SoftMoELayerWrapper` of soft-moe; its twin is `soft` with normalize="tokens".

    It divides by the length itself where ours has 1e-6 under the root: a relative difference of 5e-7 at length 1.
    """

    def twin(self) -> MoE:
        """Return `soft` with normalize="tokens"."""
        experts = _stacked([(first, second) for first, _, second in self.layer.experts])
        return _soft("tokens", self.layer.phi.detach().double(), self.layer.scale.detach().double()[0], experts)


def _stacked(experts: list[tuple[nn.Linear, nn.Linear]]) -> dict[str, Tensor]:
    """Return the weights of separate experts as our stacks, by their names in our state_dict."""
    first, second = zip(*experts, strict=True)
    return {
        "experts.w1": torch.stack([linear.weight.detach().double().T for linear in first]),
        "experts.b1": torch.stack([linear.bias.detach().double() for linear in first]),
        "experts.w2": torch.stack([linear.weight.detach().double().T for linear in second]),
        "experts.b2": torch.stack([linear.bias.detach().double() for linear in second]),
    }


def _soft(normalize: str, phi_DEP: Tensor, scale: Tensor, experts: dict[str, Tensor]) -> MoE:
    """Return `soft` with these weights."""
    d_model, num_experts, slots_per_expert = phi_DEP.shape
    ours = soft(
        d_model=d_model,
        d_ff=experts["experts.w1"].shape[2],
        num_experts=num_experts,
        slots_per_expert=slots_per_expert,
        normalize=normalize,
        device=phi_DEP.device,
        dtype=torch.float64,
    )
    ours.load_state_dict({"router.phi": phi_DEP, "router.scale": scale, **experts})
    return ours


def soft_moe_pytorch(*, d_model: int, d_ff: int, num_experts: int, slots_per_expert: int) -> SoftMoEPytorch:
    """Return the layer of soft-moe-pytorch, its GELUs in the tanh form instead of the exact one."""
    layer = load("soft_moe_pytorch").SoftMoE(
        d_model,
        num_experts=num_experts,
        num_slots=slots_per_expert,
        expert_mult=(d_ff + 0.5) / d_model,  # the package truncates d_model * expert_mult
    )
    for module in layer.modules():
        if isinstance(module, nn.GELU):
            module.approximate = "tanh"
    return SoftMoEPytorch(layer)


def soft_mixture_of_experts(
    *, d_model: int, d_ff: int, num_experts: int, slots_per_expert: int
) -> SoftMixtureOfExperts:
    """Return the layer of soft-mixture-of-experts with a hidden layer in its experts, drawn as ours."""
    stacked = load("soft_mixture_of_experts.multi_expert").MultiExpertLayer
    layer = load("soft_mixture_of_experts.soft_moe").SoftMoE(d_model, d_model, num_experts, slots_per_expert)
    layer.experts = nn.Sequential(stacked(d_model, d_ff, num_experts), TANH_GELU(), stacked(d_ff, d_model, num_experts))
    ours = soft(d_model=d_model, d_ff=d_ff, num_experts=num_experts, slots_per_expert=slots_per_expert)
    drawn = ours.state_dict()
    layer.load_state_dict(
        {
            "phi": drawn["router.phi"],
            "experts.0.weight": drawn["experts.w1"],
            "experts.0.bias": drawn["experts.b1"],
            "experts.2.weight": drawn["experts.w2"],
            "experts.2.bias": drawn["experts.b2"],
        }
    )
    return SoftMixtureOfExperts(layer)


def soft_moe_bwconrad(*, d_model: int, d_ff: int, num_experts: int, slots_per_expert: int) -> SoftMoEBwconrad:
    """Return the layer of soft-moe, which wraps any module, around two linear layers with a GELU between.

    Its own models wrap timm's `Mlp`, which computes the same. The file of the layer is loaded alone: the package also
    imports timm and torchvision, which take seconds, and fail where torchvision was built for another torch.
    """

    def expert() -> nn.Module:
        return nn.Sequential(nn.Linear(d_model, d_ff), TANH_GELU(), nn.Linear(d_ff, d_model))

    wrapper = load_alone("soft_moe", "soft_moe").SoftMoELayerWrapper
    return SoftMoEBwconrad(wrapper(d_model, num_experts, slots_per_expert, expert))
