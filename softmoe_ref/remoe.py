"""ReMoE: a ReLU decides how many experts work on a token, and how much each counts.

    g_t = relu(x_t W + b);    y_t = sum over the e with g_te > 0 of g_te f_e(x_t)

A token has as many experts as it has positive logits, none being possible; the function has no jumps. The loss `l1`

    E * sum over e of (mean of g_te over t) * (tokens of e) / (T K)

pulls the gates to 0, those of busy experts most; `next_coefficient` moves its weight until each token has K experts on
average. Nothing is dropped.

After Wang, Zhu and Chen 2024, arXiv:2412.14711; loss and step as in thu-ml/ReMoE at 463c6af3,
megatron/core/transformer/moe/router.py (ReLURouter). The bias b is ours: a router without one starts with half of all
experts per token and gets to K only in training. With b at the quantile of the normal distribution that K / E of
standard normal logits exceed, a fresh layer costs what a trained one would.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final, Generic, final

import torch
from torch import Tensor, nn

from softmoe_ref import arguments
from softmoe_ref.experts import Experts, SortedRows
from softmoe_ref.moe import LinearRouter, MoE
from softmoe_ref.routing import Decision, Rows, routing_dtype

FIRST_COEFFICIENT: Final = 1e-8  # thu-ml/ReMoE: the weight of the loss in the first step
STEP: Final = 1.2  # thu-ml/ReMoE: its factor from step to step


@dataclass(frozen=True)
class Gated(ABC, Generic[Rows]):
    """A decision in which every token has the experts whose gate is positive.

    Attributes:
        shape: B and M.
        gates: (T, E), not negative; differentiable.
        top_k: K, the experts that a token should have on average.
    """

    shape: tuple[int, int]
    gates: Tensor
    top_k: int

    @abstractmethod
    def dispatch(self, x: Tensor) -> Rows:
        """Return the rows for the experts, made from the tokens `x` (B, M, D)."""

    @abstractmethod
    def combine(self, y: Rows) -> Tensor:
        """Return the tokens' outputs (B, M, D); exactly 0 for a token without an expert."""

    def assigned(self) -> Tensor:
        """Return (T, E) bool: the gate is positive."""
        return _active(self.gates)

    def load(self) -> Tensor:
        """Return (E,) float64: the tokens that each expert has to work on."""
        return self.assigned().sum(0, dtype=torch.float64)

    def importance(self) -> Tensor:
        """Return (E,): the sum of the gates over all tokens."""
        return self.gates.sum(0)

    def drop_rate(self) -> float:
        """Return 0.0: nothing is refused."""
        return 0.0

    def unrouted_rate(self) -> float:
        """Return tokens without any positive gate / all tokens; waits for the device."""
        return float((~self.assigned().any(1)).double().mean())

    def losses(self) -> dict[str, Tensor]:
        """Return `l1`, unweighted, see the head of this file."""
        num_tokens, num_experts = self.gates.shape
        busy_E = self.load().to(self.gates.dtype) / (num_tokens * self.top_k)
        return {"l1": num_experts * (self.gates.mean(0) * busy_E).sum()}


@final
@dataclass(frozen=True)
class Everywhere(Gated[Tensor]):
    """All experts work on all tokens, and most results are multiplied by 0; never waits for the device."""

    @classmethod
    def of(cls, shape: tuple[int, int], gates_TE: Tensor, top_k: int) -> "Everywhere":
        """Return the dense form of the decision."""
        return cls(shape, gates_TE, top_k)

    def dispatch(self, x: Tensor) -> Tensor:
        """Return (E, T, D): every token for every expert, without a copy."""
        return x.reshape(1, -1, x.shape[-1]).expand(self.gates.shape[1], -1, -1)

    def combine(self, y: Tensor) -> Tensor:
        """Return (B, M, D) from the experts' outputs `y` (E, T, D)."""
        return torch.einsum("TE,ETD->TD", self.gates.to(y.dtype), y).view(*self.shape, -1)


@final
@dataclass(frozen=True)
class Ragged(Gated[SortedRows]):
    """The positive gates as a list of rows, sorted by expert; waits for the device to learn how many there are.

    Attributes:
        token: (R,), the token of each row.
        gate: (R,), its gate.
        ends: (E,) int32, where each expert's rows end.
    """

    token: Tensor
    gate: Tensor
    ends: Tensor

    @classmethod
    def of(cls, shape: tuple[int, int], gates_TE: Tensor, top_k: int) -> "Ragged":
        """Return the ragged form of the decision."""
        active_ET = _active(gates_TE.detach().T)
        expert_R, token_R = torch.where(active_ET)  # row by row: sorted by expert
        # the gradient of an index by pairs sorts them first, that of a flat one only adds
        gate_R = gates_TE.flatten().index_select(0, token_R * gates_TE.shape[1] + expert_R)
        return cls(shape, gates_TE, top_k, token_R, gate_R, active_ET.sum(1).cumsum(0).int())

    def dispatch(self, x: Tensor) -> SortedRows:
        """Return the tokens in the order of their experts."""
        return SortedRows(x.reshape(-1, x.shape[-1]).index_select(0, self.token), self.ends, full=True)

    def combine(self, y: SortedRows) -> Tensor:
        """Return (B, M, D) from the experts' outputs."""
        weighted_RD = y.rows * self.gate.to(y.rows.dtype).unsqueeze(1)
        sum_TD = weighted_RD.new_zeros(len(self.gates), weighted_RD.shape[1])
        return sum_TD.index_add(0, self.token, weighted_RD).view(*self.shape, -1)


@final
@dataclass(frozen=True)
class OneByOne(Gated[tuple[Tensor, ...]]):
    """The loop of the tutorials: for each expert find its tokens, run it, add the result. Waits for the device.

    Attributes:
        tokens: for each expert, the tokens with a positive gate.
    """

    tokens: tuple[Tensor, ...]

    @classmethod
    def of(cls, shape: tuple[int, int], gates_TE: Tensor, top_k: int) -> "OneByOne":
        """Return the loop form of the decision."""
        active_ET = _active(gates_TE.detach().T)
        return cls(shape, gates_TE, top_k, tuple(torch.where(active_T)[0] for active_T in active_ET))

    def dispatch(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return one tensor (R_e, D) per expert."""
        x_TD = x.reshape(-1, x.shape[-1])
        return tuple(x_TD.index_select(0, token) for token in self.tokens)

    def combine(self, y: tuple[Tensor, ...]) -> Tensor:
        """Return (B, M, D) from one tensor (R_e, D) per expert."""
        sum_TD = y[0].new_zeros(len(self.gates), y[0].shape[1])
        for token, gate_T, y_RD in zip(self.tokens, self.gates.to(y[0].dtype).unbind(1), y, strict=True):
            sum_TD.index_add_(0, token, y_RD * gate_T.index_select(0, token).unsqueeze(1))
        return sum_TD.view(*self.shape, -1)


def _active(gates: Tensor) -> Tensor:
    """Return bool: the gate, never negative, is above 0; NaN counts, or the output of such a token would be 0."""
    return gates != 0


BACKENDS: Final[Mapping[str, Callable[[tuple[int, int], Tensor, int], Decision[Any]]]] = {
    "einsum": Everywhere.of,
    "grouped": Ragged.of,
    "loop": OneByOne.of,
}


@final
class ReLURouter(LinearRouter):
    """Router of ReMoE.

    Attributes:
        weight: (D, E).
        bias: (E,), at first the number that a standard normal one is below in K / E of all cases.
    """

    def __init__(
        self,
        d_model: int,
        num_experts: int,
        *,
        top_k: int,
        backend: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(d_model, num_experts, device=device, dtype=dtype)
        arguments.positive_integer("top_k", top_k)
        if top_k >= num_experts:
            raise ValueError(f"top_k must be below num_experts = {num_experts}, got {top_k}")
        arguments.one_of("backend", backend, BACKENDS)
        self.top_k = top_k
        self.backend = backend
        self.bias = nn.Parameter(torch.empty(num_experts, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw `weight` anew from torch's global generator; set `bias` to the quantile of K / E."""
        super().reset_parameters()
        nn.init.constant_(self.bias, NormalDist().inv_cdf(self.top_k / len(self.bias)))

    def forward(self, x: Tensor) -> Decision[Any]:
        """Return the decision for the tokens `x` (B, M, D); the gates are at least float32."""
        dtype = routing_dtype(x.dtype)
        logits_TE = torch.addmm(self.bias.to(dtype), x.to(dtype).flatten(0, 1), self.weight.to(dtype))
        return BACKENDS[self.backend]((x.shape[0], x.shape[1]), logits_TE.relu(), self.top_k)


def next_coefficient(coefficient: float, *, active_share: float, target_share: float) -> float:
    """Return the weight of `l1` for the next step: times 1.2 while too many experts are active, else divided by it.

    Args:
        coefficient: the weight in this step, `FIRST_COEFFICIENT` in the first.
        active_share: positive gates / all gates in this step, of all layers together.
        target_share: K / E.
    """
    if active_share == target_share:
        return coefficient
    return coefficient * STEP if active_share > target_share else coefficient / STEP


def remoe(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    top_k: int = 2,
    backend: str = "grouped",
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a ReMoE layer.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert.
        num_experts: E.
        top_k: K, the experts that a token has on average when the layer is fresh, and that `l1` aims at; below E.
        backend: `grouped`, grouped matrix products of the active pairs; `einsum`, all experts on all tokens; `loop`,
            one expert after the other.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
        device: where the weights are.
        dtype: of the weights.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = ReLURouter(d_model, num_experts, top_k=top_k, backend=backend, device=device, dtype=dtype)
    return MoE("remoe", router, experts)
