"""The matrix products of a layer alone, into memory that is there already: no layer can be much faster.

No softmax, no activation, no gather, no gradient memory to allocate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence  # noqa: TC003

import torch
from torch import Tensor

Product = tuple[Tensor, Tensor, Tensor]


def soft(
    batch: int, tokens: int, d_model: int, d_ff: int, experts: int, slots: int, *, backward: bool
) -> Callable[[], None]:
    """Return a call of the five products of Soft MoE, forward, or forward and the ten of backward."""
    x, logits = torch.randn(batch, tokens, d_model), torch.randn(batch, tokens, experts * slots)
    slots_BSD = torch.randn(batch, experts * slots, d_model)
    phi = torch.randn(d_model, experts * slots)
    rows, hidden = torch.randn(experts, batch * slots, d_model), torch.randn(experts, batch * slots, d_ff)
    w1, w2 = torch.randn(experts, d_model, d_ff), torch.randn(experts, d_ff, d_model)
    flat_x, flat_logits = x.view(-1, d_model), logits.view(-1, experts * slots)
    forward: list[Product] = [
        (flat_x, phi, flat_logits),
        (logits.mT, x, slots_BSD),
        (rows, w1, hidden),
        (hidden, w2, rows),
        (logits, slots_BSD, x),
    ]
    return _calls(forward, backward=backward)


def sparse(loads: Sequence[int], d_model: int, d_ff: int, *, width: int = 1, backward: bool) -> Callable[[], None]:
    """Return a call of the products of experts with these `loads`, one expert after the other; `width` 2 for SwiGLU."""
    forward: list[Product] = []
    for load in loads:
        x, hidden = torch.randn(load, d_model), torch.randn(load, width * d_ff)
        w1, w2 = torch.randn(d_model, width * d_ff), torch.randn(d_ff, d_model)
        forward += [(x, w1, hidden), (hidden[:, :d_ff].contiguous(), w2, torch.empty(load, d_model))]
    return _calls(forward, backward=backward)


def _calls(forward: Sequence[Product], *, backward: bool) -> Callable[[], None]:
    """Return a call of all products, and of those of both operands' gradients."""
    products = [(a, b, torch.empty_like(c)) for a, b, c in forward]
    if backward:
        products += [(c, b.mT, torch.empty_like(a, memory_format=torch.contiguous_format)) for a, b, c in forward]
        products += [(a.mT, c, torch.empty_like(b)) for a, b, c in forward]

    @torch.inference_mode()
    def call() -> None:
        for a, b, out in products:
            torch.matmul(a, b, out=out)

    return call
