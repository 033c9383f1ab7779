"""A stack of experts with sorted rows on a CPU: every thread takes whole experts, whose rows stay in its cache.

The same function as `softmoe_ref.experts.Experts` computes with grouped products, in one autograd node: bias and
activation while the rows are in cache, gradients written once, into huge pages. Weights in another dtype than the rows
are converted expert by expert, so that no converted copy of the stack exists.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.autograd import Function

from softmoe_ref import pages, workers
from softmoe_ref.activations import BACKWARD, INTO
from softmoe_ref.first_order import refuse_second_derivative

FEWEST_PER_THREAD: Final = 4  # with fewer experts a thread would wait for the others
DTYPES: Final = (torch.float32, torch.float64)


@final
@dataclass(frozen=True)
class Stack:
    """The weights of a stack of experts, see `softmoe_ref.experts.Experts`; biases are None for SwiGLU."""

    w1: Tensor
    b1: Tensor | None
    w2: Tensor
    b2: Tensor | None

    def of(self, expert: int, dtype: torch.dtype) -> "Stack":
        """Return the weights of one expert in `dtype`."""
        w1, b1, w2, b2 = (None if t is None else t[expert].to(dtype) for t in (self.w1, self.b1, self.w2, self.b2))
        assert w1 is not None and w2 is not None  # noqa: S101, PT018 - for the type checker
        return Stack(w1, b1, w2, b2)


def takes(rows: Tensor) -> bool:
    """Return whether gradients written by hand can serve these rows: on a CPU, in a full format, outside a trace."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return rows.device.type == "cpu" and rows.dtype in DTYPES and not traced


def usable(rows: Tensor, num_experts: int) -> bool:
    """Return whether `run` takes these rows, and is the faster way: with several experts for each thread."""
    return takes(rows) and num_experts >= FEWEST_PER_THREAD * torch.get_num_threads()


def run(rows_RD: Tensor, stack: Stack, ends: tuple[int, ...], activation: str) -> Tensor:
    """Return (R, D): each row through its own expert.

    Args:
        rows_RD: the rows, sorted by expert.
        stack: the experts.
        ends: for each expert, where its rows end; what comes after the last belongs to nobody and is not computed.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
    """
    tensors = (rows_RD, stack.w1, stack.b1, stack.w2, stack.b2)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        y_RD: Tensor = _Run.apply(*tensors, ends, activation)  # type: ignore[no-untyped-call]
        return y_RD
    return _forward(rows_RD, stack, ends, activation)[0]


def _forward(
    rows_RD: Tensor, stack: Stack, ends: tuple[int, ...], activation: str, *, keep: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return the outputs, and the hidden layer before its activation if it is to be kept."""
    spans = _spans(ends)
    y_RD = torch.empty_like(rows_RD, memory_format=torch.contiguous_format)
    width, hidden = stack.w1.shape[2], stack.w2.shape[1]
    kept_RF = rows_RD.new_empty(len(rows_RD), width) if keep else None
    most = max((end - start for _, start, end in spans), default=0)
    into = INTO[activation]

    @torch.inference_mode()
    def work(share: Iterator[tuple[int, int, int]]) -> None:
        before = None if keep else rows_RD.new_empty(most, width)
        after = rows_RD.new_empty(most, hidden)
        for expert, start, end in share:
            one = stack.of(expert, rows_RD.dtype)
            before_RF = kept_RF[start:end] if before is None else before[: end - start]  # type: ignore[index]
            after_RF = after[: end - start]
            _linear(rows_RD[start:end], one.w1, one.b1, before_RF)
            into(before_RF, after_RF)
            _linear(after_RF, one.w2, one.b2, y_RD[start:end])

    workers.run(work, spans)
    return y_RD, kept_RF


@final
class _Run(Function):
    """Saves the rows and the hidden layer before its activation; computes what comes after it again, in cache."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        rows_RD: Tensor,
        w1: Tensor,
        b1: Tensor | None,
        w2: Tensor,
        b2: Tensor | None,
        ends: tuple[int, ...],
        activation: str,
    ) -> Tensor:
        y_RD, kept_RF = _forward(rows_RD, Stack(w1, b1, w2, b2), ends, activation, keep=True)
        ctx.save_for_backward(rows_RD, w1, b1, w2, b2, kept_RF)
        ctx.ends, ctx.activation = ends, activation
        return y_RD

    @staticmethod
    def backward(ctx: Any, grad_RD: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        refuse_second_derivative()
        rows_RD, w1, b1, w2, b2, kept_RF = ctx.saved_tensors
        stack = Stack(w1, b1, w2, b2)
        grads = [
            pages.empty(tensor.shape, tensor) if needed else None
            for tensor, needed in zip((rows_RD, w1, b1, w2, b2), ctx.needs_input_grad[:5], strict=True)
        ]
        grad_rows, grad_w1, grad_b1, grad_w2, grad_b2 = grads
        into, through = INTO[ctx.activation], BACKWARD[ctx.activation]
        spans = _spans(ctx.ends)
        for idle in set(range(len(w1))) - {expert for expert, _, _ in spans}:
            for grad in grads[1:]:
                if grad is not None:
                    grad[idle].zero_()
        if grad_rows is not None:
            grad_rows[ctx.ends[-1] :].zero_()

        @torch.inference_mode()
        def work(share: Iterator[tuple[int, int, int]]) -> None:
            for expert, start, end in share:
                one = stack.of(expert, rows_RD.dtype)
                before_RF, from_above_RD = kept_RF[start:end], grad_RD[start:end]
                after_RF = before_RF.new_empty(end - start, len(one.w2))
                into(before_RF, after_RF)
                _product(after_RF.mT, from_above_RD, grad_w2, expert)
                _column_sum(from_above_RD, grad_b2, expert)
                grad_RF = through(torch.mm(from_above_RD, one.w2.mT, out=after_RF), before_RF)
                _product(rows_RD[start:end].mT, grad_RF, grad_w1, expert)
                _column_sum(grad_RF, grad_b1, expert)
                if grad_rows is not None:
                    torch.mm(grad_RF, one.w1.mT, out=grad_rows[start:end])

        workers.run(work, spans)
        return (*grads, None, None)


def _spans(ends: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return (expert, start, end) of the experts that have rows, the largest first: it must not come last."""
    starts = (0, *ends[:-1])
    spans = [(expert, start, end) for expert, (start, end) in enumerate(zip(starts, ends, strict=True)) if end > start]
    return sorted(spans, key=lambda span: span[1] - span[2])


def _linear(x_RD: Tensor, weight_DF: Tensor, bias_F: Tensor | None, out_RF: Tensor) -> None:
    if bias_F is None:
        torch.mm(x_RD, weight_DF, out=out_RF)
    else:
        torch.addmm(bias_F, x_RD, weight_DF, out=out_RF)


def _product(a: Tensor, b: Tensor, stack: Tensor | None, expert: int) -> None:
    """Write a product to one matrix of a stack, if there is one; it may have another dtype."""
    if stack is not None and stack.dtype == a.dtype:
        torch.mm(a, b, out=stack[expert])
    elif stack is not None:
        stack[expert].copy_(a @ b)


def _column_sum(rows: Tensor, stack: Tensor | None, expert: int) -> None:
    if stack is not None:
        stack[expert].copy_(rows.sum(0))
