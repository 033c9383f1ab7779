"""Multi-head self-attention whose queries and keys are normalised, so that its logits stay small in large models.

Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2; the norm of queries and keys as Puigcerver et al. 2023,
arXiv:2308.00951, train their backbones: LayerNorm over each head's numbers, with a scale and no bias.
"""

from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from softmoe_ref import arguments

NORM_EPSILON: Final = 1e-6  # flax's default, with which the authors' backbones are trained


@final
class Attention(nn.Module):
    """Self-attention over the tokens of each sequence.

    Attributes:
        qkv: (3D, D) and (3D,): queries, keys and values, each H heads of U = D / H numbers.
        query_norm: (U,), shared by all heads.
        key_norm: (U,), shared by all heads.
        out: (D, D) and (D,).
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        arguments.positive_integer("d_model", d_model)
        arguments.positive_integer("num_heads", num_heads)
        if d_model % num_heads:
            raise ValueError(f"num_heads must divide d_model = {d_model}, got {num_heads}")
        self.num_heads = num_heads
        width = d_model // num_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, device=device, dtype=dtype)
        self.query_norm = nn.LayerNorm(width, eps=NORM_EPSILON, bias=False, device=device, dtype=dtype)
        self.key_norm = nn.LayerNorm(width, eps=NORM_EPSILON, bias=False, device=device, dtype=dtype)
        self.out = nn.Linear(d_model, d_model, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, each D x D matrix uniform Xavier; biases 0, norms 1."""
        for matrix in (*self.qkv.weight.chunk(3), self.out.weight):
            nn.init.xavier_uniform_(matrix)
        for bias in (self.qkv.bias, self.out.bias):
            nn.init.zeros_(bias)
        for norm in (self.query_norm, self.key_norm):
            norm.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, M, D) for the tokens `x` (B, M, D)."""
        q_BHMU, k_BHMU, v_BHMU = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed_BHMU = functional.scaled_dot_product_attention(self.query_norm(q_BHMU), self.key_norm(k_BHMU), v_BHMU)
        y_BMD: Tensor = self.out(mixed_BHMU.transpose(1, 2).flatten(2))
        return y_BMD
