"""Soft MoE: every slot is a convex combination of all tokens, every output one of all slots.

    logits = scale * unit(X) unit(Phi)        (B, M, E, P), one parameter vector phi per slot
    D = softmax over tokens, C = softmax over all E * P slots, of the same logits
    Y = C f(D^T X)                            the slots of an expert are contiguous

Source: Puigcerver et al. 2023, arXiv:2308.00951v2, sections 2.1 and 2.3, algorithms 1 and 2; the details follow the
authors' google-research/vmoe at 942a78b, projects/soft_moe/router.py: `unit` puts its epsilon inside the root, and only
the logits see normalised tokens, the slots mix the tokens themselves.
"""

import math
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from softmoe_ref import arguments, subset
from softmoe_ref.attended import Attended
from softmoe_ref.blocked import Blocked
from softmoe_ref.experts import Experts, computing_dtype
from softmoe_ref.mixing import logits_of, two_softmaxes
from softmoe_ref.moe import MoE, Router
from softmoe_ref.routing import Decision, routing_dtype, unit
from softmoe_ref.shared_exp import LARGEST_LOGIT, SharedExp

BACKENDS: Final = ("einsum", "fused", "sdpa", "compile")
NORMALIZE: Final = ("logits", "tokens", "none")
MEMORY: Final = ("normal", "low")
MANY_LOGITS: Final = 2**24  # above 64 MiB of them, one block of tokens at a time is the faster way on a CPU


@final
class SoftRouter(Router):
    """Router of Soft MoE.

    Attributes:
        phi: (D, E, P), drawn normal with standard deviation 1 / sqrt(D); its length does not matter once normalised.
        scale: (), the temperature, starting at 1.
    """

    def __init__(  # noqa: PLR0913 - one keyword per axis of a case
        self,
        d_model: int,
        num_experts: int,
        slots_per_expert: int,
        *,
        backend: str,
        normalize: str,
        memory: str,
        active_experts: int | None,
        subset_choice: str,
        renormalize_active: bool,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        arguments.positive_integer("slots_per_expert", slots_per_expert)
        arguments.one_of("backend", backend, BACKENDS)
        arguments.one_of("normalize", normalize, NORMALIZE)
        arguments.one_of("memory", memory, MEMORY)
        arguments.one_of("subset_choice", subset_choice, subset.CHOICES)
        if active_experts is not None:
            arguments.positive_integer("active_experts", active_experts)
            if active_experts > num_experts:
                raise ValueError(f"active_experts must be at most num_experts = {num_experts}, got {active_experts}")
        special = [name for name, asked in (("memory", memory == "low"), ("active_experts", active_experts)) if asked]
        if special and (backend != "fused" or len(special) > 1):
            raise ValueError(f"{' and '.join(special)} must be asked of backend fused, one at a time, got {backend!r}")
        if renormalize_active and active_experts is None:
            raise ValueError(
                "renormalize_active must go with active_experts: the weights of all experts sum to 1 already"
            )
        self.slots_per_expert = slots_per_expert
        self.backend = backend
        self.normalize = normalize
        self.memory = memory
        self.active_experts = active_experts
        self.subset_choice = subset_choice
        self.renormalize_active = renormalize_active
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
        if self.backend in ("einsum", "compile"):
            return two_softmaxes(torch.einsum("BMD,DEP->BMEP", seen_BMD, phi_DEP), unit_tokens=self.unit_tokens)
        if self.backend == "sdpa":
            phi_SD = phi_DEP.flatten(1).mT.contiguous()
            return Attended(seen_BMD, phi_SD, self.slots_per_expert, self.unit_tokens)
        return self._fused(x, seen_BMD, phi_DEP)

    @property
    def unit_tokens(self) -> bool:
        """Whether the slots mix the normalised tokens."""
        return self.normalize == "tokens"

    def _fused(self, x: Tensor, seen_BMD: Tensor, phi_DEP: Tensor) -> Decision[Any]:
        """Return the decision in the form that is the best one for its size, its logits and what is asked of it."""
        phi_DS = phi_DEP.flatten(1)
        if self.memory == "low":
            return Blocked(seen_BMD, phi_DS, self.slots_per_expert, self.unit_tokens)
        if self.active_experts is not None:
            return subset.Subset.of(
                logits_of(seen_BMD, phi_DS, self.slots_per_expert),
                self.active_experts,
                choice=self.subset_choice,
                renormalize=self.renormalize_active,
                unit_tokens=self.unit_tokens,
            )
        on_cpu = x.device.type == "cpu" and computing_dtype(x) == seen_BMD.dtype
        if on_cpu and self._largest_logit(seen_BMD, phi_DS) <= LARGEST_LOGIT:
            return SharedExp.of(seen_BMD, phi_DS, self.slots_per_expert, unit_tokens=self.unit_tokens)
        if on_cpu and seen_BMD.shape[0] * seen_BMD.shape[1] * phi_DS.shape[1] > MANY_LOGITS:
            return Blocked(seen_BMD, phi_DS, self.slots_per_expert, self.unit_tokens)
        return two_softmaxes(logits_of(seen_BMD, phi_DS, self.slots_per_expert), unit_tokens=self.unit_tokens)

    def _largest_logit(self, seen_BMD: Tensor, phi_DS: Tensor) -> float:
        """Return what no logit exceeds: |scale| if both factors are normalised, else the product of their norms.

        Looking is free on a CPU. On a GPU it would make every call wait for the device and could not be captured in a
        CUDA graph, and there exponentials are cheap: it is not asked there.
        """
        if self.normalize != "none":
            return abs(float(self.scale.detach()))
        longest = (factor.detach().norm(dim=dim).amax() for factor, dim in ((seen_BMD, 2), (phi_DS, 0)))
        return float(math.prod(float(norm) for norm in longest))


def soft(  # noqa: PLR0913 - one keyword per axis of a case
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    slots_per_expert: int,
    backend: str = "einsum",
    normalize: str = "logits",
    activation: str = "gelu",
    memory: str = "normal",
    active_experts: int | None = None,
    subset_choice: str = "combine",
    renormalize_active: bool = False,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a Soft MoE layer.

    Args:
        d_model: D, the paper's d.
        d_ff: F, the hidden width of each expert.
        num_experts: E, the paper's n.
        slots_per_expert: P, the paper's p.
        backend: `einsum`, as written in the paper; `fused`, the fastest way on this device, see
            `softmoe_ref.shared_exp`; `sdpa`, attention between tokens and slots, see `softmoe_ref.attended`; or
            `compile`, the einsum through torch.compile.
        normalize: `logits`, the authors' code; `tokens`, where the slots mix the normalised tokens too, as several
            published packages do (the output then ignores a token's length); `none`, algorithm 1 of the paper, where
            `scale` merely multiplies the logits.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
        memory: `low` keeps memory linear in the tokens, see `softmoe_ref.blocked`; `fused` only.
        active_experts: how many experts of each sequence are computed, None for all, see `softmoe_ref.subset`; `fused`
            only.
        subset_choice: `combine`, those with the largest combine weights; or `random`, the same ones at every call.
        renormalize_active: whether the combine weights of the active experts are divided by their sum.
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
        memory=memory,
        active_experts=active_experts,
        subset_choice=subset_choice,
        renormalize_active=renormalize_active,
        device=device,
        dtype=dtype,
    )
    layer = MoE("soft", router, experts)
    if backend == "compile":
        layer.compile()
    return layer
