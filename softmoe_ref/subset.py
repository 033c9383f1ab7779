"""Expert subset inference: of all experts only k are computed, chosen for each sequence by its combine weights.

    s_e = sum over tokens and slots of C_b(m, e, p);    keep the k experts with the largest s_e
    Y = C f(D^T X) over the slots of the kept experts, C not renormalised unless asked for

A slot's dispatch weights do not depend on the other slots, so that the kept ones are as before.

Source: Chung et al. 2024, arXiv:2409.00879, algorithm 1; the details follow the authors' released code,
YoungseogChung/beyond-param-count at bd47c9c, where the choice takes no gradient and C is not renormalised.
"""

from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from softmoe_ref.experts import SortedRows
from softmoe_ref.routing import NothingDropped, unit

CHOICES: Final = ("combine", "random")
_SEED: Final = 2409_00879  # of the random choice, the same at every call


@final
@dataclass(frozen=True)
class Subset(NothingDropped):
    """Dense decision over the slots of k experts, other ones for every sequence.

    Attributes:
        dispatch_weights: (B, M, S), of the kept slots, S = k * P.
        combine_weights: (B, M, S), likewise.
        expert: (B, k), the kept experts of each sequence, in the order of their number.
        num_experts: E.
        slots_per_expert: P.
        unit_tokens: whether the slots mix the L2-normalised tokens instead of the tokens themselves.
    """

    dispatch_weights: Tensor
    combine_weights: Tensor
    expert: Tensor
    num_experts: int
    slots_per_expert: int
    unit_tokens: bool

    @classmethod
    def of(
        cls, logits_BMEP: Tensor, active_experts: int, *, choice: str, renormalize: bool, unit_tokens: bool
    ) -> "Subset":
        """Return the decision for these logits; `choice` is a key of `CHOICES`."""
        combine_BMEP = logits_BMEP.flatten(2).softmax(2).view_as(logits_BMEP)
        batch, _, num_experts, slots_per_expert = logits_BMEP.shape
        if choice == "random":
            generator = torch.Generator().manual_seed(_SEED)
            score_BE = torch.rand(batch, num_experts, generator=generator).to(logits_BMEP.device)
        else:
            score_BE = combine_BMEP.detach().sum((1, 3))
        best_BE = score_BE.sort(dim=1, descending=True, stable=True).indices  # the lower number first among equals
        expert_Bk = best_BE[:, :active_experts].sort(dim=1).values
        index = expert_Bk.view(batch, 1, active_experts, 1).expand(-1, logits_BMEP.shape[1], -1, slots_per_expert)
        kept_BMS = logits_BMEP.gather(2, index).flatten(2)
        return cls(
            kept_BMS.softmax(1),
            kept_BMS.softmax(2) if renormalize else combine_BMEP.gather(2, index).flatten(2),
            expert_Bk,
            num_experts,
            slots_per_expert,
            unit_tokens,
        )

    def dispatch(self, x: Tensor) -> SortedRows:
        """Return the kept slots, sorted by expert."""
        mixed_BMD = unit(x, dim=-1) if self.unit_tokens else x
        slots_BSD = torch.bmm(self.dispatch_weights.to(x.dtype).mT, mixed_BMD)
        rows_RD = slots_BSD.flatten(0, 1).index_select(0, self._order())
        ends_E = (self.load().cumsum(0)).int()
        return SortedRows(rows_RD, ends_E, full=True)

    def combine(self, y: SortedRows) -> Tensor:
        """Return (B, M, D) from the experts' outputs."""
        order_R = self._order()
        back_R = torch.empty_like(order_R).scatter_(0, order_R, torch.arange(len(order_R), device=order_R.device))
        slots_BSD = y.rows.index_select(0, back_R).view(len(self.expert), -1, y.rows.shape[-1])
        return torch.bmm(self.combine_weights.to(slots_BSD.dtype), slots_BSD)

    def _order(self) -> Tensor:
        """Return (R,): which slot of the flattened (B, S) ones stands in each row."""
        return self.expert.repeat_interleave(self.slots_per_expert, dim=1).flatten().sort(stable=True).indices

    def assigned(self) -> Tensor:
        """Return (T, E) bool: this expert is kept for this token's sequence."""
        kept_BE = torch.zeros(len(self.expert), self.num_experts, dtype=torch.bool, device=self.expert.device)
        kept_BE.scatter_(1, self.expert, value=True)
        return kept_BE.repeat_interleave(self.dispatch_weights.shape[1], dim=0)

    def load(self) -> Tensor:
        """Return (E,) float64: the slots that each expert works on."""
        count_E = torch.zeros(self.num_experts, dtype=torch.float64, device=self.expert.device)
        ones_R = count_E.new_ones(self.expert.numel())
        return count_E.scatter_add_(0, self.expert.flatten(), ones_R) * self.slots_per_expert

    def importance(self) -> Tensor:
        """Return (E,): the sum of the combine weights of each expert's slots, where they are kept."""
        share_Bk = self.combine_weights.sum(1).view(*self.expert.shape, self.slots_per_expert).sum(2)
        return share_Bk.new_zeros(self.num_experts).scatter_add(0, self.expert.flatten(), share_Bk.flatten())
