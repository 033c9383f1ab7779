"""What of Soft MoE is learned mixing: its ablations, which fix the dispatch weights D, the combine weights C, or both.

    identity      token i is slot i, and goes to expert i // P; M = E * P
    uniform       D = 1 / M, C = 1 / (E P)
    soft_uniform  D = softmax over tokens as in Soft MoE, C = 1 / (E P)
    uniform_soft  D = 1 / M, C = softmax over slots as in Soft MoE

Each is computed in two ways. `einsum` writes both weights out and multiplies with them. `fused` replaces a uniform
product by the mean that it is, and the identity by a change of shape. Under a uniform D all slots of a sequence are
equal; every expert nevertheless works on all of its P slots, as the definition says, in both ways.

Source: Puigcerver et al. 2023, arXiv:2308.00951v2, section 3.6 and appendix A; slots are contiguous per expert here, as
they are in Soft MoE. There is no published code of them.
"""

from typing import Any, Final, final

import torch
from torch import Tensor, nn

from softmoe_ref import arguments
from softmoe_ref.experts import Experts
from softmoe_ref.fixed_mixing import Averaged, OneToOne
from softmoe_ref.moe import MoE, Router
from softmoe_ref.routing import Decision, Weights, routing_dtype, unit

BACKENDS: Final = ("einsum", "fused")


@final
class FixedRouter(Router):
    """Router of `identity` and `uniform`: not a learned one, no parameters."""

    def __init__(self, num_experts: int, slots_per_expert: int, *, one_to_one: bool, backend: str) -> None:
        super().__init__()
        arguments.positive_integer("slots_per_expert", slots_per_expert)
        arguments.one_of("backend", backend, BACKENDS)
        self.num_experts = num_experts
        self.slots_per_expert = slots_per_expert
        self.one_to_one = one_to_one
        self.backend = backend

    def forward(self, x: Tensor) -> Decision[Any]:
        """Return the decision for the tokens `x` (B, M, D), which does not depend on their values.

        Raises:
            ValueError: if the identity is asked for and a sequence has more or fewer tokens than slots.
        """
        batch, length, _ = x.shape
        written_out = self.backend == "einsum"
        if not self.one_to_one:
            weights = _uniform(x, self.num_experts, self.slots_per_expert, written_out=written_out)
            return weights if written_out else Averaged(weights, dispatch_is_uniform=True, combine_is_uniform=True)
        slots = self.num_experts * self.slots_per_expert
        if length != slots:
            raise ValueError(
                f"identity needs sequences of num_experts * slots_per_expert = {self.num_experts} * "
                f"{self.slots_per_expert} = {slots} tokens, got {length}"
            )
        identity = None
        if written_out:
            eye_MEP = torch.eye(slots, dtype=routing_dtype(x.dtype), device=x.device).view(slots, self.num_experts, -1)
            identity_BMEP = eye_MEP.repeat(batch, 1, 1, 1)
            identity = Weights(identity_BMEP, identity_BMEP)
        return OneToOne((batch, length), self.num_experts, identity, x.device)


@final
class HalfSoftRouter(Router):
    """Router of `soft_uniform` and `uniform_soft`: one of Soft MoE's two softmaxes.

    Attributes:
        phi: (D, E, P), drawn as in Soft MoE.
        scale: (), starting at 1.
        learned: `dispatch` or `combine`, the side that is a softmax.
    """

    def __init__(
        self,
        d_model: int,
        num_experts: int,
        slots_per_expert: int,
        *,
        learned: str,
        backend: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        arguments.positive_integer("slots_per_expert", slots_per_expert)
        arguments.one_of("learned", learned, ("dispatch", "combine"))
        arguments.one_of("backend", backend, BACKENDS)
        self.learned = learned
        self.backend = backend
        self.phi = nn.Parameter(torch.empty(d_model, num_experts, slots_per_expert, device=device, dtype=dtype))
        self.scale = nn.Parameter(torch.empty((), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw `phi` anew from torch's global generator and set `scale` to 1."""
        nn.init.normal_(self.phi, std=self.phi.shape[0] ** -0.5)
        nn.init.ones_(self.scale)

    def forward(self, x: Tensor) -> Decision[Any]:
        """Return the decision for the tokens `x` (B, M, D); logits and softmax are at least float32."""
        dtype = routing_dtype(x.dtype)
        _, experts, slots_per_expert = self.phi.shape
        directions_DEP = unit(self.phi.to(dtype), dim=0) * self.scale.to(dtype)
        logits_BMS = unit(x.to(dtype), dim=-1) @ directions_DEP.flatten(1)
        learned_BMEP = logits_BMS.softmax(1 if self.learned == "dispatch" else 2).view(*x.shape[:2], experts, -1)
        uniform = _uniform(x, experts, slots_per_expert, written_out=self.backend == "einsum")
        if self.learned == "dispatch":
            weights = Weights(learned_BMEP, uniform.combine_weights)
        else:
            weights = Weights(uniform.dispatch_weights, learned_BMEP)
        if self.backend == "einsum":
            return weights
        return Averaged(
            weights,
            dispatch_is_uniform=self.learned == "combine",
            combine_is_uniform=self.learned == "dispatch",
        )


def _uniform(x: Tensor, num_experts: int, slots_per_expert: int, *, written_out: bool) -> Weights:
    """Return D = 1 / M and C = 1 / (E P), each (B, M, E, P), as memory or as a view of one number."""
    shape = (x.shape[0], x.shape[1], num_experts, slots_per_expert)
    dispatch, combine = (
        torch.full((), 1 / count, dtype=routing_dtype(x.dtype), device=x.device).expand(shape)
        for count in (x.shape[1], num_experts * slots_per_expert)
    )
    return Weights(dispatch.contiguous(), combine.contiguous()) if written_out else Weights(dispatch, combine)


def identity(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    slots_per_expert: int,
    backend: str = "einsum",
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return the layer whose tokens are the slots: it takes sequences of num_experts * slots_per_expert tokens.

    The arguments are those of `softmoe_ref.soft.soft`; see above for `backend`.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = FixedRouter(num_experts, slots_per_expert, one_to_one=True, backend=backend)
    return MoE("identity", router, experts)


def uniform(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    slots_per_expert: int,
    backend: str = "einsum",
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return the layer whose slots are all the mean token, and whose outputs are all the mean slot.

    The arguments are those of `softmoe_ref.soft.soft`; see above for `backend`.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = FixedRouter(num_experts, slots_per_expert, one_to_one=False, backend=backend)
    return MoE("uniform", router, experts)


def soft_uniform(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    slots_per_expert: int,
    backend: str = "einsum",
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return the layer with Soft MoE's slots, whose outputs are all the mean slot.

    The arguments are those of `softmoe_ref.soft.soft`; see above for `backend`.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = HalfSoftRouter(
        d_model,
        num_experts,
        slots_per_expert,
        learned="dispatch",
        backend=backend,
        device=device,
        dtype=dtype,
    )
    return MoE("soft_uniform", router, experts)


def uniform_soft(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    slots_per_expert: int,
    backend: str = "einsum",
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return the layer whose slots are all the mean token, with Soft MoE's outputs.

    The arguments are those of `softmoe_ref.soft.soft`; see above for `backend`.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = HalfSoftRouter(
        d_model,
        num_experts,
        slots_per_expert,
        learned="combine",
        backend=backend,
        device=device,
        dtype=dtype,
    )
    return MoE("uniform_soft", router, experts)
