"""Soft MoE: every slot is a convex combination of all tokens, every output one of all slots.

    logits = scale * unit(X) unit(Phi)        (B, M, E, P), one parameter vector phi per slot
    D = softmax over tokens, C = softmax over all E * P slots, of the same logits
    Y = C f(D^T X)                            the slots of an expert are contiguous

Source: Puigcerver et al. 2023, arXiv:2308.00951v2, sections 2.1 and 2.3, algorithms 1 and 2; the details follow the
authors' google-research/vmoe at 942a78b, projects/soft_moe/router.py: `unit` puts its epsilon inside the root, and only
the logits see normalised tokens, the slots mix the tokens themselves.
"""

from typing import Any, Final, final

import torch
from torch import Tensor, nn

from softmoe_ref import arguments
from softmoe_ref.experts import Experts, computing_dtype
from softmoe_ref.moe import MoE, Router
from softmoe_ref.routing import Decision, Weights, routing_dtype, unit
from softmoe_ref.shared_exp import SAFE_SPREAD, SharedExp

BACKENDS: Final = ("einsum", "fused")
NORMALIZE: Final = ("logits", "tokens", "none")


@final
class SoftRouter(Router):
    """Router of Soft MoE.

    Attributes:
        phi: (D, E, P), drawn normal with standard deviation 1 / sqrt(D); its length does not matter once normalised.
        scale: (), the temperature, starting at 1.
    """

    def __init__(
        self,
        d_model: int,
        num_experts: int,
        slots_per_expert: int,
        *,
        backend: str,
        normalize: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        arguments.positive_integer("slots_per_expert", slots_per_expert)
        arguments.one_of("backend", backend, BACKENDS)
        arguments.one_of("normalize", normalize, NORMALIZE)
        self.slots_per_expert = slots_per_expert
        self.backend = backend
        self.normalize = normalize
        self.phi = nn.Parameter(torch.empty(d_model, num_experts, slots_per_expert, device=device, dtype=dtype))
        self.scale = nn.Parameter(torch.empty((), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw `phi` anew from torch's global generator and set `scale` to 1."""
        nn.init.normal_(self.phi, std=self.phi.shape[0] ** -0.5)
        nn.init.ones_(self.scale)

    def forward(self, x: Tensor) -> Decision[Any]:
        """Return the decision for the tokens `x` (B, M, D); logits and softmaxes are at least float32."""
        dtype = routing_dtype(x.dtype)
        seen_BMD, phi_DEP = x.to(dtype), self.phi.to(dtype)
        if self.normalize != "none":
            seen_BMD, phi_DEP = unit(seen_BMD, dim=-1), unit(phi_DEP, dim=0)
        phi_DEP = phi_DEP * self.scale.to(dtype)
        if self.backend == "einsum":
            return self._two_softmaxes(torch.einsum("BMD,DEP->BMEP", seen_BMD, phi_DEP))
        logits_BMS = seen_BMD @ phi_DEP.flatten(1)
        centre = self._safe_centre(x, logits_BMS)
        if centre is None:
            return self._two_softmaxes(logits_BMS.view(*x.shape[:2], *phi_DEP.shape[1:]))
        return SharedExp.of(logits_BMS, centre, self.slots_per_expert, unit_tokens=self.normalize == "tokens")

    def _two_softmaxes(self, logits_BMEP: Tensor) -> Weights:
        return Weights(
            dispatch_weights=logits_BMEP.softmax(1),
            combine_weights=logits_BMEP.flatten(2).softmax(2).view_as(logits_BMEP),
            unit_tokens=self.normalize == "tokens",
        )

    def _safe_centre(self, x: Tensor, logits_BMS: Tensor) -> float | None:
        """Return a number that all logits are close to, so that one exponential can serve both softmaxes, or None.

        Normalised logits lie within +-scale. Looking at `scale`, or at the logits, is free on a CPU; on a GPU it would
        make every call wait for the device and could not be captured in a CUDA graph, and there the exponentials are
        cheap: so the answer is always None there.
        """
        if x.device.type != "cpu" or computing_dtype(x) != logits_BMS.dtype:
            return None
        if self.normalize == "none":
            low, high = (float(end) for end in logits_BMS.detach().aminmax())
        else:
            high = abs(float(self.scale.detach()))
            low = -high
        return (low + high) / 2 if high - low <= SAFE_SPREAD else None


def soft(  # noqa: PLR0913 - one keyword per axis of a case
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    slots_per_expert: int,
    backend: str = "einsum",
    normalize: str = "logits",
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a Soft MoE layer.

    Args:
        d_model: D, the paper's d.
        d_ff: F, the hidden width of each expert.
        num_experts: E, the paper's n.
        slots_per_expert: P, the paper's p.
        backend: `einsum`, as written in the paper; or `fused`, the fastest way on this device, see
            `softmoe_ref.shared_exp`.
        normalize: `logits`, the authors' code; `tokens`, where the slots mix the normalised tokens too, as several
            published packages do (the output then ignores a token's length); `none`, algorithm 1 of the paper, where
            `scale` merely multiplies the logits.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
        device: where the weights are.
        dtype: of the weights.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = SoftRouter(
        d_model,
        num_experts,
        slots_per_expert,
        backend=backend,
        normalize=normalize,
        device=device,
        dtype=dtype,
    )
    return MoE("soft", router, experts)
