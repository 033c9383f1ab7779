"""The dense feed-forward network that a Mixture-of-Experts layer replaces: one expert, every token, no router.

`dense_active` and `dense_total` are the same network at the size of a sparse layer: as many parameters as it uses for
one token, or as it has in all. Without them one cannot say whether routing helped or size did.

Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.3, with GELU in place of ReLU.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from softmoe_ref import arguments
from softmoe_ref.experts import Experts
from softmoe_ref.moe import MoE, Router
from softmoe_ref.routing import NothingDropped


@final
@dataclass(frozen=True)
class Everyone(NothingDropped):
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

    def importance(self) -> Tensor:
        """Return (1,): T, since every token's weight is 1."""
        return self.assigned().sum(0, dtype=torch.float32)


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


def matched_width(d_model: int, d_ff: int, num_experts: int, *, counted: int, activation: str) -> int:
    """Return the hidden width at which one network has as many parameters as `counted` experts and a router together.

    A hidden unit brings 2D + 1 parameters (two vectors and a bias) and the output bias D is there once; with SwiGLU a
    unit brings 3D and there are no biases. To the nearest whole unit, upwards from the middle:

        F' = (counted * (F (2D + 1) + D) + D E - D) / (2D + 1);    SwiGLU: F' = (counted * 3DF + D E) / 3D

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert of the sparse layer.
        num_experts: E, the width of its router (D, E).
        counted: how many of its experts count.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
    """
    unit, bias = (3 * d_model, 0) if activation == "swiglu" else (2 * d_model + 1, d_model)
    parameters = counted * (d_ff * unit + bias) + d_model * num_experts
    return (2 * (parameters - bias) + unit) // (2 * unit)


def dense_active(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    top_k: int = 1,
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a dense layer with the parameters that a sparse one uses for a token: `top_k` experts and the router.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert of the sparse layer; for that of this one see `matched_width`.
        num_experts: E of the sparse layer.
        top_k: K of the sparse layer.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
        device: where the weights are.
        dtype: of the weights.
    """
    arguments.positive_integer("d_model", d_model)
    arguments.positive_integer("d_ff", d_ff)
    arguments.positive_integer("num_experts", num_experts)
    arguments.positive_integer("top_k", top_k)
    arguments.at_most("top_k", top_k, "num_experts", num_experts)
    width = matched_width(d_model, d_ff, num_experts, counted=top_k, activation=activation)
    experts = Experts(1, d_model, width, activation=activation, device=device, dtype=dtype)
    return MoE("dense_active", EveryoneRouter(), experts)


def dense_total(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a dense layer with all the parameters of a sparse one: `num_experts` experts and the router.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert of the sparse layer; for that of this one see `matched_width`.
        num_experts: E of the sparse layer.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
        device: where the weights are.
        dtype: of the weights.
    """
    arguments.positive_integer("d_model", d_model)
    arguments.positive_integer("d_ff", d_ff)
    arguments.positive_integer("num_experts", num_experts)
    width = matched_width(d_model, d_ff, num_experts, counted=num_experts, activation=activation)
    experts = Experts(1, d_model, width, activation=activation, device=device, dtype=dtype)
    return MoE("dense_total", EveryoneRouter(), experts)
