"""The matrix products of a layer alone, into memory that is there already: little of a layer can be faster.

No softmax, no activation, no gather, no gradient memory to allocate. torch cuts each product into parts for its
threads, so that experts that run side by side can still be faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence  # noqa: TC003

import torch
from torch import Tensor

Product = tuple[Tensor, Tensor, Tensor]


def soft(x: Tensor, d_ff: int, experts: int, slots: int, *, backward: bool) -> Callable[[], None]:
    """Return a call of the five products of Soft MoE on tokens `x` (B, M, D), with the ten of backward if asked."""
    batch, tokens, d_model = x.shape
    logits, slots_BSD = torch.randn(batch, tokens, experts * slots), torch.randn(batch, experts * slots, d_model)
    rows, hidden = torch.randn(experts, batch * slots, d_model), torch.randn(experts, batch * slots, d_ff)
    w1, w2 = torch.randn(experts, d_model, d_ff), torch.randn(experts, d_ff, d_model)
    forward: list[Product] = [
        (x.reshape(-1, d_model), torch.randn(d_model, experts * slots), logits.view(-1, experts * slots)),
        (logits.mT, x, slots_BSD),
        (rows, w1, hidden),
        (hidden, w2, rows),
        (logits, slots_BSD, x),
    ]
    return _calls(forward, backward=backward)


def sparse(
    loads: Sequence[int], d_model: int, d_ff: int, *, swiglu: bool = False, backward: bool
) -> Callable[[], None]:
    """Return a call of the products of experts with these `loads`, one expert after the other."""
    forward: list[Product] = []
    for load in loads:
        x, hidden = torch.randn(load, d_model), torch.randn(load, 2 * d_ff if swiglu else d_ff)
        forward.append((x, torch.randn(d_model, hidden.shape[1]), hidden))
        forward.append((torch.randn(load, d_ff), torch.randn(d_ff, d_model), torch.empty(load, d_model)))
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
