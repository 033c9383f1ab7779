"""Soft MoE mixing a block of tokens at a time: memory linear in the tokens, and right for logits of any size.

Dispatch is a softmax over all tokens, so that its blocks are put together with a running maximum for each slot, as in
online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867); combine is a softmax over slots, of which a block sees
the whole row. Going back, the logits are computed again, as in FlashAttention (Dao et al. 2022, arXiv:2205.14135), and
the sum in the gradient of a softmax is the product of an output with its gradient.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.autograd import Function

from softmoe_ref.first_order import refuse_second_derivative
from softmoe_ref.mixing import Mixing, logits_of, two_softmaxes
from softmoe_ref.routing import Weights

BLOCK_NUMBERS: Final = 2**19  # logits held at a time: 2 MiB of float32, which a core's caches hold


@final
@dataclass(frozen=True)
class Blocked(Mixing):
    """Dense decision that keeps what its logits are products of.

    Attributes:
        seen: (B, M, D), the tokens as the logits see them.
        phi: (D, S), a slot's vector in each column, times the scale.
        slots_per_expert: P.
        unit_tokens: whether the slots mix the L2-normalised tokens instead of the tokens themselves.
    """

    seen: Tensor
    phi: Tensor
    slots_per_expert: int
    unit_tokens: bool

    def mix_tokens(self, x: Tensor) -> Tensor:
        """Return the slots (B, S, D)."""
        if torch.is_grad_enabled():
            slots_BSD: Tensor = _MixTokens.apply(self.seen, self.phi, x)  # type: ignore[no-untyped-call]
            return slots_BSD
        return _mix_tokens(self.seen, self.phi, x)[0].to(x.dtype)

    def mix_slots(self, y: Tensor) -> Tensor:
        """Return the outputs (B, M, D)."""
        if torch.is_grad_enabled():
            y_BMD: Tensor = _MixSlots.apply(self.seen, self.phi, y)  # type: ignore[no-untyped-call]
            return y_BMD
        return _mix_slots(self.seen, self.phi, y).to(y.dtype)

    def weights(self) -> Weights:
        """Return the same decision with its weights written out."""
        return two_softmaxes(logits_of(self.seen, self.phi, self.slots_per_expert), unit_tokens=self.unit_tokens)


def _blocks(seen_BMD: Tensor, slots: int) -> Iterator[slice]:
    """Yield the tokens of each block."""
    batch, length, _ = seen_BMD.shape
    size = max(16, BLOCK_NUMBERS // (batch * slots))
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _mix_tokens(seen_BMD: Tensor, phi_DS: Tensor, x_BMD: Tensor) -> tuple[Tensor, Tensor]:
    """Return the slots (B, S, D), and the logarithm (B, S) of each slot's sum of exponentials."""
    shape = (len(seen_BMD), phi_DS.shape[1])
    peak_BS = seen_BMD.new_full(shape, -torch.inf)
    sum_BS = seen_BMD.new_zeros(shape)
    slots_BSD = seen_BMD.new_zeros(*shape, x_BMD.shape[2])
    for block in _blocks(seen_BMD, shape[1]):
        logits_BmS = torch.matmul(seen_BMD[:, block], phi_DS)
        higher_BS = torch.maximum(peak_BS, logits_BmS.amax(1))
        faded_BS = torch.exp(peak_BS - higher_BS)
        exp_BmS = logits_BmS.sub_(higher_BS.unsqueeze(1)).exp_()
        sum_BS.mul_(faded_BS).add_(exp_BmS.sum(1))
        slots_BSD.mul_(faded_BS.unsqueeze(2))
        torch.baddbmm(slots_BSD, exp_BmS.mT, x_BMD[:, block].to(exp_BmS.dtype), out=slots_BSD)
        peak_BS = higher_BS
    slots_BSD.div_(sum_BS.unsqueeze(2))
    return slots_BSD, peak_BS.add_(sum_BS.log_())


@final
class _MixTokens(Function):
    """slots_s = sum_m softmax_m(seen_m phi_s) x_m."""

    @staticmethod
    def forward(ctx: Any, seen_BMD: Tensor, phi_DS: Tensor, x_BMD: Tensor) -> Tensor:  # noqa: ANN401
        slots_BSD, log_sum_BS = _mix_tokens(seen_BMD, phi_DS, x_BMD)
        ctx.save_for_backward(seen_BMD, phi_DS, x_BMD, slots_BSD, log_sum_BS)
        return slots_BSD.to(x_BMD.dtype)

    @staticmethod
    def backward(ctx: Any, grad_BSD: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        refuse_second_derivative()
        seen_BMD, phi_DS, x_BMD, slots_BSD, log_sum_BS = ctx.saved_tensors
        grad_BSD = grad_BSD.to(slots_BSD.dtype)
        mean_BS = torch.linalg.vecdot(grad_BSD, slots_BSD)
        grad_seen_BMD, grad_x_BMD = torch.empty_like(seen_BMD), torch.empty_like(x_BMD)
        grad_phi_DS = torch.zeros_like(phi_DS)
        for block in _blocks(seen_BMD, phi_DS.shape[1]):
            weights_BmS = torch.matmul(seen_BMD[:, block], phi_DS).sub_(log_sum_BS.unsqueeze(1)).exp_()
            grad_x_BMD[:, block] = torch.bmm(weights_BmS, grad_BSD)
            inner_BmS = torch.bmm(x_BMD[:, block].to(grad_BSD.dtype), grad_BSD.mT).sub_(mean_BS.unsqueeze(1))
            _through_logits(inner_BmS.mul_(weights_BmS), seen_BMD, phi_DS, block, grad_seen_BMD, grad_phi_DS)
        return grad_seen_BMD, grad_phi_DS, grad_x_BMD


def _mix_slots(seen_BMD: Tensor, phi_DS: Tensor, slots_BSD: Tensor) -> Tensor:
    """Return the outputs (B, M, D)."""
    wide_BSD = slots_BSD.to(seen_BMD.dtype)
    y_BMD = torch.empty_like(seen_BMD)
    for block in _blocks(seen_BMD, phi_DS.shape[1]):
        weights_BmS = torch.matmul(seen_BMD[:, block], phi_DS).softmax(2)
        y_BMD[:, block] = torch.bmm(weights_BmS, wide_BSD)
    return y_BMD


@final
class _MixSlots(Function):
    """y_m = sum_s softmax_s(seen_m phi_s) slots_s."""

    @staticmethod
    def forward(ctx: Any, seen_BMD: Tensor, phi_DS: Tensor, slots_BSD: Tensor) -> Tensor:  # noqa: ANN401
        y_BMD = _mix_slots(seen_BMD, phi_DS, slots_BSD)
        ctx.save_for_backward(seen_BMD, phi_DS, slots_BSD, y_BMD)
        return y_BMD.to(slots_BSD.dtype)

    @staticmethod
    def backward(ctx: Any, grad_BMD: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        refuse_second_derivative()
        seen_BMD, phi_DS, slots_BSD, y_BMD = ctx.saved_tensors
        grad_BMD = grad_BMD.to(y_BMD.dtype)
        wide_BSD = slots_BSD.to(y_BMD.dtype)
        mean_BM = torch.linalg.vecdot(grad_BMD, y_BMD)
        grad_seen_BMD, grad_slots_BSD = torch.empty_like(seen_BMD), torch.zeros_like(wide_BSD)
        grad_phi_DS = torch.zeros_like(phi_DS)
        for block in _blocks(seen_BMD, phi_DS.shape[1]):
            weights_BmS = torch.matmul(seen_BMD[:, block], phi_DS).softmax(2)
            torch.baddbmm(grad_slots_BSD, weights_BmS.mT, grad_BMD[:, block], out=grad_slots_BSD)
            inner_BmS = torch.bmm(grad_BMD[:, block], wide_BSD.mT).sub_(mean_BM[:, block].unsqueeze(2))
            _through_logits(inner_BmS.mul_(weights_BmS), seen_BMD, phi_DS, block, grad_seen_BMD, grad_phi_DS)
        return grad_seen_BMD, grad_phi_DS, grad_slots_BSD.to(slots_BSD.dtype)


def _through_logits(
    grad_BmS: Tensor, seen_BMD: Tensor, phi_DS: Tensor, block: slice, grad_seen_BMD: Tensor, grad_phi_DS: Tensor
) -> None:
    """Add what the gradient of a block's logits gives to both of their factors."""
    grad_seen_BMD[:, block] = torch.matmul(grad_BmS, phi_DS.mT)
    for seen_mD, grad_mS in zip(seen_BMD[:, block], grad_BmS, strict=True):
        torch.addmm(grad_phi_DS, seen_mD.mT, grad_mS, out=grad_phi_DS)  # a counter of FLOPs does not know addmm_
