"""Soft MoE mixing with one exponential for both softmaxes.

D and C are softmaxes of the same logits over different axes. If all logits are close to one number c, then with
E = exp(logits - c)

    D^T X = (E^T X) / column sums of E,     C Y = (E Y) / row sums of E

so that one matrix is stored instead of two, and the divisions fall on the products. The backward pass takes the sum
in the gradient of a softmax from them as well: sum_m D_ms dD_ms = <slot_s, dslot_s>. If the logits spread further, E
underflows, and only two softmaxes are right; the router decides (`softmoe_ref.soft.SoftRouter`).
"""

from dataclasses import dataclass
from typing import Any, Final, Self, final

import torch
from torch import Tensor
from torch.autograd import Function

from softmoe_ref.routing import Weights, unit

# Highest minus lowest logit: from exp(-30) = 9e-14 to exp(30) = 1e13, products and sums stay well inside float32.
SAFE_SPREAD: Final = 60.0


@final
@dataclass(frozen=True)
class SharedExp:
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
    def of(cls, logits_BMS: Tensor, centre: float, slots_per_expert: int, *, unit_tokens: bool) -> Self:
        """Return the decision for `logits_BMS`, which it overwrites, all within SAFE_SPREAD / 2 of `centre`."""
        exp_BMS = (logits_BMS.sub_(centre) if centre else logits_BMS).exp_()
        sums = exp_BMS.detach()
        return cls(exp_BMS, sums.sum(1), sums.sum(2), slots_per_expert, unit_tokens)

    def dispatch(self, x: Tensor) -> Tensor:
        """Return the slots (E, B * P, D), contiguous per expert."""
        mixed_BMD = unit(x, dim=-1) if self.unit_tokens else x
        if torch.is_grad_enabled():
            slots_BSD: Tensor = _MixTokens.apply(self.exp, mixed_BMD, self.column_sum)  # type: ignore[no-untyped-call]
        else:
            slots_BSD = _mix_tokens(self.exp, mixed_BMD, self.column_sum)
        slots_BEPD = slots_BSD.view(len(x), -1, self.slots_per_expert, x.shape[-1])
        return slots_BEPD.transpose(0, 1).flatten(1, 2)

    def combine(self, y: Tensor) -> Tensor:
        """Return (B, M, D) from the experts' outputs `y` (E, B * P, D)."""
        y_EBPD = y.reshape(len(y), -1, self.slots_per_expert, y.shape[-1])
        y_BSD = y_EBPD.transpose(0, 1).flatten(1, 2)
        if torch.is_grad_enabled():
            mixed_BMD: Tensor = _MixSlots.apply(self.exp, y_BSD, self.row_sum)  # type: ignore[no-untyped-call]
        else:
            mixed_BMD = _mix_slots(self.exp, y_BSD, self.row_sum)
        return mixed_BMD

    def weights(self) -> Weights:
        """Return the same decision with its weights written out."""
        dispatch_BMS = self.exp / self.exp.sum(1, keepdim=True)
        combine_BMS = self.exp / self.exp.sum(2, keepdim=True)
        shape = (*self.exp.shape[:2], -1, self.slots_per_expert)
        return Weights(dispatch_BMS.view(shape), combine_BMS.view(shape), self.unit_tokens)

    @property
    def dispatch_weights(self) -> Tensor:
        """(B, M, E, P), the paper's D."""
        return self.weights().dispatch_weights

    @property
    def combine_weights(self) -> Tensor:
        """(B, M, E, P), the paper's C."""
        return self.weights().combine_weights

    def assigned(self) -> Tensor:
        """Return (T, E) bool, all true."""
        return self.weights().assigned()

    def load(self) -> Tensor:
        """Return (E,) float64, all B * P."""
        return self.weights().load()

    def importance(self) -> Tensor:
        """Return (E,): the sum of the combine weights of each expert's slots."""
        return self.weights().importance()

    def drop_rate(self) -> float:
        """Return 0.0."""
        return 0.0

    def unrouted_rate(self) -> float:
        """Return 0.0."""
        return 0.0

    def losses(self) -> dict[str, Tensor]:
        """Return no auxiliary loss."""
        return {}


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
        exp_BMS, x_BMD, column_sum_BS, slots_BSD = ctx.saved_tensors
        share_BSD = grad_BSD / column_sum_BS.unsqueeze(2)
        grad_exp_BMS = grad_x_BMD = None
        if ctx.needs_input_grad[0]:
            mean_BS = torch.linalg.vecdot(share_BSD, slots_BSD)
            grad_exp_BMS = torch.bmm(x_BMD, share_BSD.mT).sub_(mean_BS.unsqueeze(1))
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
        exp_BMS, slots_BSD, row_sum_BM, y_BMD = ctx.saved_tensors
        share_BMD = grad_BMD / row_sum_BM.unsqueeze(2)
        grad_exp_BMS = grad_slots_BSD = None
        if ctx.needs_input_grad[0]:
            mean_BM = torch.linalg.vecdot(share_BMD, y_BMD)
            grad_exp_BMS = torch.bmm(share_BMD, slots_BSD.mT).sub_(mean_BM.unsqueeze(2))
        if ctx.needs_input_grad[1]:
            grad_slots_BSD = torch.bmm(exp_BMS.mT, share_BMD)
        return grad_exp_BMS, grad_slots_BSD, None
