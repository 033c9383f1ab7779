"""SMEAR: the experts' parameters are averaged, not their outputs; each sequence gets one merged expert of its own.

    p_b = softmax(unit variance(mean over tokens of x_b) . unit variance(w_e));    theta_b = sum_e p_be theta_e
    y_b = f(x_b; theta_b)

All parameters are merged, biases too. A call holds a merged expert for every sequence at once: B times the weights of
one expert, which for many short sequences is more than the tokens take.

Source: Muqeeth, Liu, Raffel 2023, arXiv:2306.03745; the router follows r-three/smear at 2186bdf,
hyperformer/adapters/adapter_utils.py and adapter_controller_fast.py with `parameter_averaging_routing` and the defaults
of training_args.py: the sequence's mean and each expert's router vector go through a layer norm, and there is no bias.
Three things differ. The experts here are whole feed-forward networks, there adapters around a residual. The layer norm
of the router vectors has no shift here, since it would add the same to every logit. And every token counts: there is
no padding to leave out of the mean.
"""

from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from softmoe_ref.experts import Experts, MergedRows
from softmoe_ref.moe import MoE, Router
from softmoe_ref.routing import NothingDropped, routing_dtype

INITIAL_SCALE: Final = 0.01  # r-three/smear, training_args.py: router_init_scale
NORM_EPSILON: Final = 1e-5  # torch's layer norm, inside the square root


@final
@dataclass(frozen=True)
class Mixture(NothingDropped):
    """The decision how much of each expert goes into each sequence's own one.

    Attributes:
        length: M.
        mixture: (B, E), positive, each row summing to 1.
    """

    length: int
    mixture: Tensor

    def dispatch(self, x: Tensor) -> MergedRows:
        """Return the tokens with their sequences' mixtures."""
        return MergedRows(x, self.mixture.to(x.dtype))

    def combine(self, y: MergedRows) -> Tensor:
        """Return (B, M, D): what the merged experts made of the tokens."""
        return y.rows

    def assigned(self) -> Tensor:
        """Return (T, E) bool, all true: every expert has a part in the one that works on a token."""
        return torch.ones_like(self.mixture, dtype=torch.bool).repeat_interleave(self.length, 0)

    def load(self) -> Tensor:
        """Return (E,) float64, all T, as `assigned` has it; what is computed are T rows in all, not T for each."""
        batch, experts = self.mixture.shape
        return self.mixture.new_full((experts,), batch * self.length, dtype=torch.float64)

    def importance(self) -> Tensor:
        """Return (E,): the sum over all tokens of each expert's part."""
        return self.mixture.sum(0) * self.length


@final
class SmearRouter(Router):
    """Router of SMEAR, which looks at a sequence's mean only.

    Attributes:
        weight: (D, E), drawn normal with standard deviation `INITIAL_SCALE`; normalised along D.
        weight_scale: (D,), what the normalised `weight` is multiplied by, starting at `INITIAL_SCALE`.
        mean_scale: (D,), what the normalised mean is multiplied by, starting at 1.
        mean_shift: (D,), what is added to it, starting at 0.
    """

    def __init__(
        self,
        d_model: int,
        num_experts: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d_model, num_experts, device=device, dtype=dtype))
        self.weight_scale = nn.Parameter(torch.empty(d_model, device=device, dtype=dtype))
        self.mean_scale = nn.Parameter(torch.empty(d_model, device=device, dtype=dtype))
        self.mean_shift = nn.Parameter(torch.empty(d_model, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw `weight` anew from torch's global generator, and set the scales and the shift to their start."""
        nn.init.normal_(self.weight, std=INITIAL_SCALE)
        nn.init.constant_(self.weight_scale, INITIAL_SCALE)
        nn.init.ones_(self.mean_scale)
        nn.init.zeros_(self.mean_shift)

    def forward(self, x: Tensor) -> Mixture:
        """Return the decision for the tokens `x` (B, M, D); logits and softmax are at least float32."""
        dtype = routing_dtype(x.dtype)
        mean_BD = _normalized(x.to(dtype).mean(1), self.mean_scale.to(dtype), self.mean_shift.to(dtype))
        weight_ED = _normalized(self.weight.to(dtype).mT, self.weight_scale.to(dtype), None)
        return Mixture(x.shape[1], (mean_BD @ weight_ED.mT).softmax(1))


def _normalized(vectors: Tensor, scale_D: Tensor, shift_D: Tensor | None) -> Tensor:
    return functional.layer_norm(vectors, scale_D.shape, scale_D, shift_D, NORM_EPSILON)


def smear(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a SMEAR layer.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert, and of the merged ones.
        num_experts: E.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
        device: where the weights are.
        dtype: of the weights.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    return MoE("smear", SmearRouter(d_model, num_experts, device=device, dtype=dtype), experts)
