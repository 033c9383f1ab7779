"""Decisions in which tokens are mixed into slots, or slots into outputs, by weights that nobody learns.

They belong to the ablations of Soft MoE, see `softmoe_ref.ablations`.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from softmoe_ref.routing import NothingDropped, Weights


@final
@dataclass(frozen=True)
class OneToOne(NothingDropped):
    """Every token is one slot.

    Attributes:
        shape: B and M.
        num_experts: E.
        weights: D = C = the identity written out, for `einsum`; None for `fused`.
        device: where the tokens are.
    """

    shape: tuple[int, int]
    num_experts: int
    weights: Weights | None
    device: torch.device

    def dispatch(self, x: Tensor) -> Tensor:
        """Return the slots (E, B * P, D)."""
        if self.weights is not None:
            return self.weights.dispatch(x)
        return x.reshape(len(x), self.num_experts, -1, x.shape[2]).transpose(0, 1).flatten(1, 2)

    def combine(self, y: Tensor) -> Tensor:
        """Return (B, M, D) from the experts' outputs `y` (E, B * P, D)."""
        if self.weights is not None:
            return self.weights.combine(y)
        return y.reshape(len(y), self.shape[0], -1, y.shape[2]).transpose(0, 1).flatten(1, 2)

    def assigned(self) -> Tensor:
        """Return (T, E) bool: token i belongs to expert i // P."""
        eye = torch.eye(self.num_experts, dtype=torch.bool, device=self.device)
        return eye.repeat_interleave(self.shape[1] // self.num_experts, 0).repeat(self.shape[0], 1)

    def importance(self) -> Tensor:
        """Return (E,), all B * P: every weight is 1."""
        return self.assigned().sum(0, dtype=torch.float32)


@final
@dataclass(frozen=True)
class Averaged(NothingDropped):
    """The `fused` form of a dense decision of which at least one side is uniform: a mean in place of a product.

    Attributes:
        weights: the same decision with its weights written out, the uniform side as a view of one number.
        dispatch_is_uniform: whether every slot is the mean of the tokens.
        combine_is_uniform: whether every output is the mean of the slots.
    """

    weights: Weights
    dispatch_is_uniform: bool
    combine_is_uniform: bool

    def dispatch(self, x: Tensor) -> Tensor:
        """Return the slots (E, B * P, D)."""
        if not self.dispatch_is_uniform:
            return self.weights.dispatch(x)
        _, _, experts, slots_per_expert = self.weights.dispatch_weights.shape
        return x.mean(1).repeat_interleave(slots_per_expert, 0).expand(experts, -1, -1)

    def combine(self, y: Tensor) -> Tensor:
        """Return (B, M, D) from the experts' outputs `y` (E, B * P, D)."""
        if not self.combine_is_uniform:
            return self.weights.combine(y)
        batch, length, _, slots_per_expert = self.weights.combine_weights.shape
        mean_BD = y.reshape(len(y), batch, slots_per_expert, y.shape[2]).mean((0, 2))
        return mean_BD.unsqueeze(1).repeat(1, length, 1)

    def assigned(self) -> Tensor:
        """Return (T, E) bool, all true."""
        return self.weights.assigned()

    def load(self) -> Tensor:
        """Return (E,) float64, all B * P."""
        return self.weights.load()

    def importance(self) -> Tensor:
        """Return (E,): the sum of the combine weights of each expert's slots."""
        return self.weights.importance()
