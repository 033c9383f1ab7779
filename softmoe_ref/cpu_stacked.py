"""A stack of experts with equally many rows each, on a CPU: torch's batched products, which spread it over the threads.

The same function as `softmoe_ref.experts.Experts` computes, in one autograd node: the activation in the time that the
faster kernel takes, gradients written once, into huge pages, and weights in another dtype than the rows converted a few
experts at a time, so that no converted copy of the stack exists.
"""

from collections.abc import Iterator
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.autograd import Function

from softmoe_ref import pages
from softmoe_ref.activations import BACKWARD, INTO
from softmoe_ref.cpu_experts import Stack, takes
from softmoe_ref.first_order import refuse_second_derivative

CONVERTED_NUMBERS: Final = 2**21  # of the weights converted at a time: 8 MiB of float32
ACTIVATED_NUMBERS: Final = 2**19  # of the hidden layer activated at a time: 2 MiB of float32, which the caches hold


def usable(rows: Tensor, num_experts: int) -> bool:
    """Return whether `run` takes these rows, and is the faster way."""
    return num_experts > 1 and takes(rows)


def run(rows_ERD: Tensor, stack: Stack, activation: str) -> Tensor:
    """Return (E, R, D): each expert's rows through it.

    Args:
        rows_ERD: R rows for each expert.
        stack: the experts.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
    """
    tensors = (rows_ERD, stack.w1, stack.b1, stack.w2, stack.b2)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        y_ERD: Tensor = _Run.apply(*tensors, activation)  # type: ignore[no-untyped-call]
        return y_ERD
    return _forward(rows_ERD, stack, activation)[0]


def _forward(rows_ERD: Tensor, stack: Stack, activation: str, *, keep: bool = False) -> tuple[Tensor, Tensor | None]:
    """Return the outputs, and the hidden layer before its activation if it is to be kept."""
    y_ERD = torch.empty_like(rows_ERD, memory_format=torch.contiguous_format)
    kept_ERF = rows_ERD.new_empty(*rows_ERD.shape[:2], stack.w1.shape[2]) if keep else None
    for few, part in _parts(stack, rows_ERD.dtype):
        before_ERF = _linear(rows_ERD[few], part.w1, part.b1, None if kept_ERF is None else kept_ERF[few])
        _linear(_activated(before_ERF, activation), part.w2, part.b2, y_ERD[few])
    return y_ERD, kept_ERF


@final
class _Run(Function):
    """Saves the rows and the hidden layer before its activation; computes what comes after it again."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        rows_ERD: Tensor,
        w1: Tensor,
        b1: Tensor | None,
        w2: Tensor,
        b2: Tensor | None,
        activation: str,
    ) -> Tensor:
        y_ERD, kept_ERF = _forward(rows_ERD, Stack(w1, b1, w2, b2), activation, keep=True)
        ctx.save_for_backward(rows_ERD, w1, b1, w2, b2, kept_ERF)
        ctx.activation = activation
        return y_ERD

    @staticmethod
    def backward(ctx: Any, grad_ERD: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        refuse_second_derivative()
        rows_ERD, w1, b1, w2, b2, kept_ERF = ctx.saved_tensors
        grads = [
            pages.empty(tensor.shape, tensor) if needed else None
            for tensor, needed in zip((rows_ERD, w1, b1, w2, b2), ctx.needs_input_grad[:5], strict=True)
        ]
        grad_rows, grad_w1, grad_b1, grad_w2, grad_b2 = grads
        for few, part in _parts(Stack(w1, b1, w2, b2), rows_ERD.dtype):
            before_ERF, above_ERD = kept_ERF[few], grad_ERD[few]
            if grad_w2 is not None:
                _product(_activated(before_ERF, ctx.activation).mT, above_ERD, grad_w2[few])
            if grad_b2 is not None:
                grad_b2[few] = above_ERD.sum(1)
            inner_ERF = BACKWARD[ctx.activation](torch.bmm(above_ERD, part.w2.mT), before_ERF)
            if grad_w1 is not None:
                _product(rows_ERD[few].mT, inner_ERF, grad_w1[few])
            if grad_b1 is not None:
                grad_b1[few] = inner_ERF.sum(1)
            if grad_rows is not None:
                torch.bmm(inner_ERF, part.w1.mT, out=grad_rows[few])
        return (*grads, None)


def _parts(stack: Stack, dtype: torch.dtype) -> Iterator[tuple[slice, Stack]]:
    """Yield the stack in `dtype`, as it is or a few experts at a time."""
    num_experts, width, hidden = stack.w1.shape
    size = num_experts if stack.w1.dtype == dtype else max(1, CONVERTED_NUMBERS // (width * hidden))
    for first in range(0, num_experts, size):
        few = slice(first, first + size)
        b1, b2 = (None if bias is None else bias[few].to(dtype) for bias in (stack.b1, stack.b2))
        yield few, Stack(stack.w1[few].to(dtype), b1, stack.w2[few].to(dtype), b2)


def _linear(x_ERD: Tensor, weight_EDF: Tensor, bias_EF: Tensor | None, out_ERF: Tensor | None) -> Tensor:
    if bias_EF is None:
        return torch.bmm(x_ERD, weight_EDF, out=out_ERF)
    return torch.baddbmm(bias_EF.unsqueeze(1), x_ERD, weight_EDF, out=out_ERF)


def _activated(before_ERF: Tensor, activation: str) -> Tensor:
    """Return the hidden layer after its activation, some rows at a time, so that its steps find them in the caches."""
    before_TF = before_ERF.flatten(0, 1)
    after_TF = before_TF.new_empty(len(before_TF), before_TF.shape[1] // (2 if activation == "swiglu" else 1))
    size = max(1, ACTIVATED_NUMBERS // before_TF.shape[1])
    for before, after in zip(torch.split(before_TF, size), torch.split(after_TF, size), strict=True):
        INTO[activation](before, after)
    return after_TF.view(*before_ERF.shape[:2], -1)


def _product(a_EDR: Tensor, b_ERF: Tensor, out_EDF: Tensor) -> None:
    """Write products to a part of a stack, which may have another dtype."""
    if out_EDF.dtype == a_EDR.dtype:
        torch.bmm(a_EDR, b_ERF, out=out_EDF)
    else:
        out_EDF.copy_(torch.bmm(a_EDR, b_ERF))
