"""Soft MoE mixing with one exponential for both softmaxes.

D and C are softmaxes of the same logits over different axes. If all logits are small, then with E = exp(logits)

    D^T X = (E^T X) / column sums of E,     C Y = (E Y) / row sums of E

so that one matrix is stored instead of two, and the divisions fall on the products. The backward pass takes the sum
in the gradient of a softmax from them as well: sum_m D_ms dD_ms = <slot_s, dslot_s>. If the logits are larger, E
overflows, and only a softmax is right; the router decides (`softmoe_ref.soft.SoftRouter`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self, final

import torch
from torch import Tensor
from torch.autograd import Function

from softmoe_ref import pages
from softmoe_ref.first_order import refuse_second_derivative
from softmoe_ref.mixing import Mixing
from softmoe_ref.routing import Weights

LARGEST_LOGIT: Final = 30.0  # from exp(-30) = 9e-14 to exp(30) = 1e13, products and sums stay well inside float32
PIECE: Final = 2**21  # logits worked on at a time: 8 MiB of float32, which the last cache holds


@final
@dataclass(frozen=True)
class SharedExp(Mixing):
    """Dense decision that keeps the exponential of the logits, and the weights implicit.

    Attributes:
        exp: (B, M, S), the exponential of the logits.
        column_sum: (B, S), its sums over tokens.
        row_sum: (B, M), its sums over slots.
        slots_per_expert: P.
        unit_tokens: whether the slots mix the L2-normalised tokens instead of the tokens themselves.
    """

    exp: Tensor
    column_sum: Tensor
    row_sum: Tensor
    slots_per_expert: int
    unit_tokens: bool

    @classmethod
    def of(cls, seen_BMD: Tensor, phi_DS: Tensor, slots_per_expert: int, *, unit_tokens: bool) -> Self:
        """Return the decision for the logits `seen_BMD @ phi_DS`, none of which may exceed LARGEST_LOGIT."""
        if torch.is_grad_enabled():
            parts: tuple[Tensor, Tensor, Tensor] = _Exp.apply(seen_BMD, phi_DS)  # type: ignore[no-untyped-call]
        else:
            parts = _exp(seen_BMD, phi_DS)
        return cls(*parts, slots_per_expert, unit_tokens)

    def mix_tokens(self, x: Tensor) -> Tensor:
        """Return the slots (B, S, D)."""
        if torch.is_grad_enabled():
            slots_BSD: Tensor = _MixTokens.apply(self.exp, x, self.column_sum)  # type: ignore[no-untyped-call]
            return slots_BSD
        return _mix_tokens(self.exp, x, self.column_sum)

    def mix_slots(self, y: Tensor) -> Tensor:
        """Return the outputs (B, M, D)."""
        if torch.is_grad_enabled():
            y_BMD: Tensor = _MixSlots.apply(self.exp, y, self.row_sum)  # type: ignore[no-untyped-call]
            return y_BMD
        return _mix_slots(self.exp, y, self.row_sum)

    def weights(self) -> Weights:
        """Return the same decision with its weights written out."""
        dispatch_BMS = self.exp / self.exp.sum(1, keepdim=True)
        combine_BMS = self.exp / self.exp.sum(2, keepdim=True)
        shape = (*self.exp.shape[:2], -1, self.slots_per_expert)
        return Weights(dispatch_BMS.view(shape), combine_BMS.view(shape), self.unit_tokens)


def _pieces(exp_BMS: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield sequences and tokens of pieces that fit the caches, each contiguous in memory."""
    batch, length, slots = exp_BMS.shape
    sequences, tokens = max(1, PIECE // (length * slots)), max(16, PIECE // slots)
    for first in range(0, batch, sequences):
        for start in range(0, length, tokens):
            yield slice(first, first + sequences), slice(start, start + tokens)


def _exp(seen_BMD: Tensor, phi_DS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the exponential of the logits (B, M, S), its column sums (B, S) and its row sums (B, M)."""
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]  # out= has no place in a trace
        exp_BMS = (seen_BMD @ phi_DS).exp()
        return exp_BMS, exp_BMS.sum(1), exp_BMS.sum(2)
    batch, length, _ = seen_BMD.shape
    exp_BMS = pages.empty((batch, length, phi_DS.shape[1]), seen_BMD)
    column_sum_BS = exp_BMS.new_zeros(batch, phi_DS.shape[1])
    row_sum_BM = exp_BMS.new_empty(batch, length)
    for sequences, tokens in _pieces(exp_BMS):
        piece = torch.matmul(seen_BMD[sequences, tokens], phi_DS, out=exp_BMS[sequences, tokens]).exp_()
        column_sum_BS[sequences].add_(piece.sum(1))
        torch.sum(piece, 2, out=row_sum_BM[sequences, tokens])
    return exp_BMS, column_sum_BS, row_sum_BM


@final
class _Exp(Function):
    """E = exp(seen phi) and its sums; the sums' share in the gradient is taken by those who divide by them."""

    @staticmethod
    def forward(ctx: Any, seen_BMD: Tensor, phi_DS: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        exp_BMS, column_sum_BS, row_sum_BM = _exp(seen_BMD, phi_DS)
        ctx.save_for_backward(seen_BMD, phi_DS, exp_BMS)
        ctx.mark_non_differentiable(column_sum_BS, row_sum_BM)
        return exp_BMS, column_sum_BS, row_sum_BM

    @staticmethod
    def backward(ctx: Any, grad_BMS: Tensor, *_sums: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        refuse_second_derivative()
        seen_BMD, phi_DS, exp_BMS = ctx.saved_tensors
        grad_seen_BMD, grad_phi_DS = torch.empty_like(seen_BMD), torch.zeros_like(phi_DS)
        for sequences, tokens in _pieces(exp_BMS):
            piece_TS = (grad_BMS[sequences, tokens] * exp_BMS[sequences, tokens]).flatten(0, 1)
            grad_seen_BMD[sequences, tokens] = (piece_TS @ phi_DS.mT).view_as(grad_seen_BMD[sequences, tokens])
            seen_TD = seen_BMD[sequences, tokens].flatten(0, 1)
            torch.addmm(grad_phi_DS, seen_TD.mT, piece_TS, out=grad_phi_DS)  # a counter of FLOPs does not know addmm_
        return grad_seen_BMD, grad_phi_DS


def _product(a_BMD: Tensor, b_BSD: Tensor) -> Tensor:
    """Return a b^T (B, M, S)."""
    return torch.bmm(a_BMD, b_BSD.mT, out=pages.empty((len(a_BMD), a_BMD.shape[1], b_BSD.shape[1]), a_BMD))


def _mix_tokens(exp_BMS: Tensor, x_BMD: Tensor, column_sum_BS: Tensor) -> Tensor:
    return torch.bmm(exp_BMS.mT, x_BMD).div_(column_sum_BS.unsqueeze(2))


def _mix_slots(exp_BMS: Tensor, slots_BSD: Tensor, row_sum_BM: Tensor) -> Tensor:
    return torch.bmm(exp_BMS, slots_BSD).div_(row_sum_BM.unsqueeze(2))


class _MixTokens(Function):
    """slots = (E^T x) / column sums, where the sums are those of E itself and share in its gradient."""

    @staticmethod
    def forward(ctx: Any, exp_BMS: Tensor, x_BMD: Tensor, column_sum_BS: Tensor) -> Tensor:  # noqa: ANN401
        slots_BSD = _mix_tokens(exp_BMS, x_BMD, column_sum_BS)
        ctx.save_for_backward(exp_BMS, x_BMD, column_sum_BS, slots_BSD)
        return slots_BSD

    @staticmethod
    def backward(ctx: Any, grad_BSD: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: ANN401
        refuse_second_derivative()
        exp_BMS, x_BMD, column_sum_BS, slots_BSD = ctx.saved_tensors
        share_BSD = grad_BSD / column_sum_BS.unsqueeze(2)
        grad_exp_BMS = grad_x_BMD = None
        if ctx.needs_input_grad[0]:
            mean_BS = torch.linalg.vecdot(share_BSD, slots_BSD)
            grad_exp_BMS = _product(x_BMD, share_BSD).sub_(mean_BS.unsqueeze(1))
        if ctx.needs_input_grad[1]:
            grad_x_BMD = torch.bmm(exp_BMS, share_BSD)
        return grad_exp_BMS, grad_x_BMD, None


class _MixSlots(Function):
    """y = (E slots) / row sums, where the sums are those of E itself and share in its gradient."""

    @staticmethod
    def forward(ctx: Any, exp_BMS: Tensor, slots_BSD: Tensor, row_sum_BM: Tensor) -> Tensor:  # noqa: ANN401
        y_BMD = _mix_slots(exp_BMS, slots_BSD, row_sum_BM)
        ctx.save_for_backward(exp_BMS, slots_BSD, row_sum_BM, y_BMD)
        return y_BMD

    @staticmethod
    def backward(ctx: Any, grad_BMD: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: ANN401
        refuse_second_derivative()
        exp_BMS, slots_BSD, row_sum_BM, y_BMD = ctx.saved_tensors
        share_BMD = grad_BMD / row_sum_BM.unsqueeze(2)
        grad_exp_BMS = grad_slots_BSD = None
        if ctx.needs_input_grad[0]:
            mean_BM = torch.linalg.vecdot(share_BMD, y_BMD)
            grad_exp_BMS = _product(share_BMD, slots_BSD).sub_(mean_BM.unsqueeze(2))
        if ctx.needs_input_grad[1]:
            grad_slots_BSD = torch.bmm(exp_BMS.mT, share_BMD)
        return grad_exp_BMS, grad_slots_BSD, None
