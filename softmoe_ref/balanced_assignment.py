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
from typing import Any, Final, final

import torch
from torch import Tensor

from softmoe_ref import arguments
from softmoe_ref.balance import auction, sinkhorn
from softmoe_ref.dropless import assign
from softmoe_ref.experts import Experts
from softmoe_ref.moe import LinearRouter, MoE
from softmoe_ref.routing import Decision, Rows
from softmoe_ref.token_choice import BACKENDS
from softmoe_ref.transport import Transport

ASSIGNMENTS: Final = ("auction", "sinkhorn")


@final
@dataclass(frozen=True)
class Blended(Transport[Rows]):
    """A decision that adds a share of each token to what its expert returned.

    Attributes:
        inner: the same decision without that share.
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


@final
class BalancedRouter(LinearRouter):
    """Router of balanced assignment.

    Attributes:
        weight: (D, E); no bias.
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
        super().__init__(d_model, num_experts, device=device, dtype=dtype)
        arguments.one_of("assignment", assignment, ASSIGNMENTS)
        arguments.one_of("backend", backend, BACKENDS)
        self.assignment = assignment
        self.backend = backend
        self.reset_parameters()

    def forward(self, x: Tensor) -> Decision[Any]:
        """Return the decision for the tokens `x` (B, M, D); logits and sigmoids are at least float32."""
        logits_TE = self.logits(x.flatten(0, 1))
        expert_T1 = self.choose(logits_TE.detach()).unsqueeze(1)
        gates_TE = logits_TE.sigmoid()
        gate_T1 = gates_TE.gather(1, expert_T1)
        shape = (x.shape[0], x.shape[1])
        facts = assign(shape, expert_T1.unsqueeze(0), gate_T1.unsqueeze(0), gates_TE.unsqueeze(0))
        decision = BACKENDS[self.backend](facts)
        if self.assignment == "sinkhorn":
            return decision
        return Blended(facts, decision, (1 - gate_T1).to(x.dtype).view(*shape, 1) * x)

    def choose(self, logits_TE: Tensor) -> Tensor:
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
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
        device: where the weights are.
        dtype: of the weights.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = BalancedRouter(d_model, num_experts, assignment=assignment, backend=backend, device=device, dtype=dtype)
    return MoE("balanced_assignment", router, experts)
