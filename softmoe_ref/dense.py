"""The dense feed-forward network that a Mixture-of-Experts layer replaces: one expert, every token, no router.

Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.3, with GELU in place of ReLU.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from softmoe_ref.experts import Experts
from softmoe_ref.moe import MoE, Router


@final
@dataclass(frozen=True)
class Everyone:
    """The decision that is none: every token goes to the only expert, with weight 1.

    Attributes:
        shape: B and M.
        device: where the tokens are.
    """

    shape: tuple[int, int]
    device: torch.device

    def dispatch(self, x: Tensor) -> Tensor:
        """Return (1, T, D): all tokens."""
        return x.reshape(1, -1, x.shape[-1])

    def combine(self, y: Tensor) -> Tensor:
        """Return (B, M, D) from (1, T, D)."""
        return y.reshape(*self.shape, y.shape[-1])

    def assigned(self) -> Tensor:
        """Return (T, 1) bool, all true."""
        return torch.ones(self.shape[0] * self.shape[1], 1, dtype=torch.bool, device=self.device)

    def load(self) -> Tensor:
        """Return (1,) float64: T."""
        return self.assigned().sum(0, dtype=torch.float64)

    def importance(self) -> Tensor:
        """Return (1,): T, since every token's weight is 1."""
        return self.assigned().sum(0, dtype=torch.float32)

    def drop_rate(self) -> float:
        """Return 0.0."""
        return 0.0

    def unrouted_rate(self) -> float:
        """Return 0.0."""
        return 0.0

    def losses(self) -> dict[str, Tensor]:
        """Return no auxiliary loss."""
        return {}


@final
class EveryoneRouter(Router):
    """Not a learned router: no parameters."""

    def forward(self, x: Tensor) -> Everyone:
        """Return the decision for the tokens `x` (B, M, D)."""
        return Everyone((x.shape[0], x.shape[1]), x.device)


def dense(
    *,
    d_model: int,
    d_ff: int,
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a dense feed-forward layer; its weights carry the names of a stack of one expert (`experts.w1`, ...)."""
    experts = Experts(1, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    return MoE("dense", EveryoneRouter(), experts)
