"""Balanced assignment: in training, tokens are shared out evenly among the experts; in evaluation each takes its best.

    a_t = sigmoid(x_t w_e)  for the token's expert e

    assignment = "auction" (BASE layers):  y_t = a_t f_e(x_t) + (1 - a_t) x_t
    assignment = "sinkhorn" (S-BASE):      y_t = a_t f_e(x_t)

One assignment covers all tokens of the call, so that in training sequences see each other: the expert of a token
depends on its neighbours in the batch. With `auction` every expert then has T / E tokens; `sinkhorn` balances weights,
and the largest of each token makes loads that are only about even. In evaluation the load is what the logits make it.
Nothing is dropped.

Source: Lewis et al. 2021, arXiv:2103.16716, with the output of facebookresearch/fairseq, fairseq/modules/base_layer.py;
its experts have a residual connection and a normalisation of their own, which ours leave to the block around the
layer. Sinkhorn after Clark et al. 2022, arXiv:2202.01169, as NVIDIA Megatron-LM computes it for one expert per token:
there the weight is the sigmoid of the logit and nothing of the token is added. How the assignments are found:
`softmoe_ref.balance`.
"""

from dataclasses import dataclass
from typing import Any, Final, Generic, final

import torch
from torch import Tensor, nn

from softmoe_ref import arguments
from softmoe_ref.balance import auction, sinkhorn
from softmoe_ref.dropless import assign
from softmoe_ref.experts import Experts
from softmoe_ref.moe import MoE, Router
from softmoe_ref.routing import Decision, Rows, routing_dtype
from softmoe_ref.token_choice import BACKENDS

ASSIGNMENTS: Final = ("auction", "sinkhorn")


@final
@dataclass(frozen=True)
class Blended(Generic[Rows]):
    """A decision that adds a share of each token to what its expert returned.

    Attributes:
        inner: the decision without that share.
        share: (B, M, D), what is added.
    """

    inner: Decision[Rows]
    share: Tensor

    def dispatch(self, x: Tensor) -> Rows:
        """Return the rows for the experts, made from the tokens `x` (B, M, D)."""
        return self.inner.dispatch(x)

    def combine(self, y: Rows) -> Tensor:
        """Return (B, M, D): the experts' weighted outputs plus the share of the token."""
        combined_BMD = self.inner.combine(y)
        return combined_BMD + self.share.to(combined_BMD.dtype)

    def assigned(self) -> Tensor:
        """Return (T, E) bool: this expert works on this token."""
        return self.inner.assigned()

    def load(self) -> Tensor:
        """Return (E,) float64: the tokens that each expert works on."""
        return self.inner.load()

    def importance(self) -> Tensor:
        """Return (E,): the sum of the sigmoids over all tokens."""
        return self.inner.importance()

    def drop_rate(self) -> float:
        """Return 0.0: nothing is refused."""
        return self.inner.drop_rate()

    def unrouted_rate(self) -> float:
        """Return 0.0: every token has an expert."""
        return self.inner.unrouted_rate()

    def losses(self) -> dict[str, Tensor]:
        """Return no auxiliary loss: the assignment is balanced by itself."""
        return self.inner.losses()


@final
class BalancedRouter(Router):
    """Router of balanced assignment.

    Attributes:
        weight: (D, E), drawn normal with standard deviation 1 / sqrt(D); no bias.
    """

    def __init__(
        self,
        d_model: int,
        num_experts: int,
        *,
        assignment: str,
        backend: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        arguments.one_of("assignment", assignment, ASSIGNMENTS)
        arguments.one_of("backend", backend, BACKENDS)
        self.assignment = assignment
        self.backend = backend
        self.weight = nn.Parameter(torch.empty(d_model, num_experts, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw `weight` anew from torch's global generator."""
        nn.init.normal_(self.weight, std=self.weight.shape[0] ** -0.5)

    def forward(self, x: Tensor) -> Decision[Any]:
        """Return the decision for the tokens `x` (B, M, D); logits and sigmoids are at least float32."""
        dtype = routing_dtype(x.dtype)
        logits_TE = x.to(dtype).flatten(0, 1) @ self.weight.to(dtype)
        expert_T1 = self.assign(logits_TE.detach()).unsqueeze(1)
        gates_TE = logits_TE.sigmoid()
        gate_T1 = gates_TE.gather(1, expert_T1)
        shape = (x.shape[0], x.shape[1])
        facts = assign(shape, expert_T1.unsqueeze(0), gate_T1.unsqueeze(0), gates_TE.unsqueeze(0))
        decision = BACKENDS[self.backend](facts)
        if self.assignment == "sinkhorn":
            return decision
        return Blended(decision, (1 - gate_T1).to(x.dtype).view(*shape, 1) * x)

    def assign(self, logits_TE: Tensor) -> Tensor:
        """Return (T,): the expert of each token."""
        if not self.training:
            return logits_TE.argmax(1)
        if self.assignment == "auction":
            return auction(logits_TE)
        return sinkhorn(logits_TE).argmax(1)


def balanced_assignment(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    assignment: str = "auction",
    backend: str = "grouped",
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a layer with balanced assignment.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert.
        num_experts: E.
        assignment: how tokens are shared out in training, `auction` or `sinkhorn`; it decides the output too, see the
            head of this file.
        backend: as for `softmoe_ref.token_choice`; the group of `einsum` is the whole batch.
        activation: a key of `softmoe_ref.experts.ACTIVATIONS`.
        device: where the weights are.
        dtype: of the weights.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = BalancedRouter(d_model, num_experts, assignment=assignment, backend=backend, device=device, dtype=dtype)
    return MoE("balanced_assignment", router, experts)
