"""PEER: each head of a token retrieves its K best among a large pool of experts of one hidden neuron each.

    q_h = x W_h, cut in halves q_h1 and q_h2;    score of expert i * sqrt(E) + j = <q_h1, c_i> + <q_h2, c'_j>
    y = sum over heads h, over the K best experts e of h, of softmax(the K scores)_e gelu(u_e . x) v_e

The best K are among the pairs of the best K sub-keys of either half, so that 2 sqrt(E) products find them among E.
All heads share the pool and the sub-keys. What one token sees is a network of hidden width heads * K: that is `d_ff`
here, and the number of heads follows from it. An expert that two heads retrieve counts twice in the output, once in
`load`. Which of several experts with exactly the same score is retrieved is not defined (`torch.topk`).

Source: He 2024, arXiv:2407.04153, section 2, equations 4 to 8 and algorithm 1; the product keys are those of Lample et
al. 2019, arXiv:1907.05242. Two things differ or are left open there. The batch norm of the queries, which the paper has
by default, is left out: its statistics would make every token depend on the others, and once they are fixed it is part
of W. The width of a query is ours: see `key_width`.
"""

import math
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

from softmoe_ref import arguments
from softmoe_ref.moe import MoE, Router
from softmoe_ref.neurons import Neurons, Retrieved
from softmoe_ref.routing import NothingDropped, routing_dtype

WIDEST_KEY: Final = 128


@final
@dataclass(frozen=True)
class Retrieval(NothingDropped):
    """The decision which experts each head of each token retrieves.

    Attributes:
        shape: B and M.
        num_experts: E.
        expert: (T, H, K).
        gate: (T, H, K), the softmax over the K scores of a head.
    """

    shape: tuple[int, int]
    num_experts: int
    expert: Tensor
    gate: Tensor

    def dispatch(self, x: Tensor) -> Retrieved:
        """Return the tokens with the experts of all their heads."""
        return Retrieved(x.reshape(-1, x.shape[-1]), self.expert.flatten(1), self.gate.flatten(1))

    def combine(self, y: Retrieved) -> Tensor:
        """Return (B, M, D): the sums that the experts return."""
        return y.rows.view(*self.shape, -1)

    def assigned(self) -> Tensor:
        """Return (T, E) bool: a head of this token retrieved this expert."""
        expert_TA = self.expert.flatten(1)
        nobody = torch.zeros(len(expert_TA), self.num_experts, dtype=torch.bool, device=expert_TA.device)
        return nobody.scatter_(1, expert_TA, value=True)

    def load(self) -> Tensor:
        """Return (E,) float64: the tokens that retrieved each expert; without a (T, E) matrix, which may be huge."""
        expert_TA = self.expert.flatten(1).sort(1).values
        first_TA = torch.ones_like(expert_TA, dtype=torch.float64)
        first_TA[:, 1:] = (expert_TA.diff(dim=1) != 0).double()
        return first_TA.new_zeros(self.num_experts).index_add_(0, expert_TA.flatten(), first_TA.flatten())

    def importance(self) -> Tensor:
        """Return (E,): the sum over all tokens and heads of each expert's softmax, 0 where it was not retrieved."""
        return self.gate.new_zeros(self.num_experts).index_add(0, self.expert.flatten(), self.gate.flatten())


@final
class ProductKeyRouter(Router):
    """Router of PEER.

    Attributes:
        query: (D, H * 2C), the heads' W side by side, drawn normal with standard deviation 1 / sqrt(D); no bias.
        keys: (2, sqrt(E), C), the sub-keys c and c', drawn normal with standard deviation 1 / sqrt(2C).
        top_k: K.
        num_heads: H.
    """

    def __init__(
        self,
        d_model: int,
        num_experts: int,
        *,
        num_heads: int,
        top_k: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.top_k = top_k
        width = key_width(d_model)
        self.query = nn.Parameter(torch.empty(d_model, num_heads * 2 * width, device=device, dtype=dtype))
        self.keys = nn.Parameter(torch.empty(2, math.isqrt(num_experts), width, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw `query` and `keys` anew from torch's global generator."""
        nn.init.normal_(self.query, std=self.query.shape[0] ** -0.5)
        nn.init.normal_(self.keys, std=(2 * self.keys.shape[2]) ** -0.5)

    def forward(self, x: Tensor) -> Retrieval:
        """Return the decision for the tokens `x` (B, M, D); scores and softmax are at least float32."""
        dtype = routing_dtype(x.dtype)
        keys_2QC = self.keys.to(dtype)
        _, sub_keys, width = keys_2QC.shape
        query_R2C = (x.to(dtype).flatten(0, 1) @ self.query.to(dtype)).view(-1, 2, width)  # R = T * H
        scores_2RQ = torch.bmm(query_R2C.transpose(0, 1), keys_2QC.mT)
        best_2RK, place_2RK = scores_2RQ.topk(min(self.top_k, sub_keys), 2)
        (first_RK, second_RK), (row_RK, column_RK) = best_2RK.unbind(0), place_2RK.unbind(0)
        pairs = (first_RK.unsqueeze(2) + second_RK.unsqueeze(1)).flatten(1)
        score_RK, pair_RK = pairs.topk(self.top_k, 1)
        row_RK = row_RK.gather(1, pair_RK // best_2RK.shape[2])
        column_RK = column_RK.gather(1, pair_RK % best_2RK.shape[2])
        shape = (-1, self.num_heads, self.top_k)
        expert_THK = (row_RK * sub_keys + column_RK).view(shape)
        return Retrieval((x.shape[0], x.shape[1]), sub_keys**2, expert_THK, score_RK.softmax(1).view(shape))


def key_width(d_model: int) -> int:
    """Return C, the width of a sub-key and of half a query: half of D, at most 128.

    The paper does not say. PEER-pytorch takes half of D unless told, and 128 in the example of its README, where half
    of D would be 256; wider queries would cost more than the experts they find.
    """
    return min((d_model + 1) // 2, WIDEST_KEY)


def peer(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    top_k: int,
    backend: str = "einsum",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a PEER layer.

    Args:
        d_model: D.
        d_ff: the hidden neurons that a token sees: heads * top_k.
        num_experts: E, the paper's N, a square number.
        top_k: K, the experts that one head retrieves.
        backend: `einsum`, all experts on all tokens; `indexed`, a copy of every retrieved vector for every token; or
            `bag`, which copies none. See `softmoe_ref.neurons`.
        device: where the weights are.
        dtype: of the weights.

    Raises:
        ValueError: if `num_experts` is no square number, `top_k` is above it, or `d_ff` is no multiple of `top_k`.
    """
    arguments.positive_integer("num_experts", num_experts)
    arguments.positive_integer("top_k", top_k)
    arguments.positive_integer("d_ff", d_ff)
    if math.isqrt(num_experts) ** 2 != num_experts:
        raise ValueError(f"num_experts must be a square number, got {num_experts}")
    arguments.at_most("top_k", top_k, "num_experts", num_experts)
    if d_ff % top_k:
        raise ValueError(f"d_ff must be a multiple of top_k = {top_k}, since it is heads * top_k; got {d_ff}")
    experts = Neurons(num_experts, d_model, d_ff, backend=backend, device=device, dtype=dtype)
    router = ProductKeyRouter(d_model, num_experts, num_heads=d_ff // top_k, top_k=top_k, device=device, dtype=dtype)
    return MoE("peer", router, experts)
