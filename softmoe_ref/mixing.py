"""What the dense decisions of Soft MoE have in common, whatever form they keep their weights in."""

from abc import abstractmethod

import torch
from torch import Tensor

from softmoe_ref.routing import NothingDropped, Weights, unit


class Mixing(NothingDropped):
    """A dense decision: every slot is a weighted sum of tokens, every output a weighted sum of slots.

    Attributes:
        slots_per_expert: P.
        unit_tokens: whether the slots mix the L2-normalised tokens instead of the tokens themselves.
    """

    slots_per_expert: int
    unit_tokens: bool

    @abstractmethod
    def mix_tokens(self, x: Tensor) -> Tensor:
        """Return the slots (B, S, D), mixed from `x` (B, M, D)."""

    @abstractmethod
    def mix_slots(self, y: Tensor) -> Tensor:
        """Return the outputs (B, M, D), mixed from the slots' outputs `y` (B, S, D)."""

    @abstractmethod
    def weights(self) -> Weights:
        """Return the same decision with its weights written out."""

    def dispatch(self, x: Tensor) -> Tensor:
        """Return the slots (E, B * P, D), contiguous per expert."""
        slots_BSD = self.mix_tokens(unit(x, dim=-1) if self.unit_tokens else x)
        slots_BEPD = slots_BSD.view(len(x), -1, self.slots_per_expert, x.shape[-1])
        return slots_BEPD.transpose(0, 1).flatten(1, 2)

    def combine(self, y: Tensor) -> Tensor:
        """Return (B, M, D) from the experts' outputs `y` (E, B * P, D)."""
        y_EBPD = y.reshape(len(y), -1, self.slots_per_expert, y.shape[-1])
        return self.mix_slots(y_EBPD.transpose(0, 1).flatten(1, 2))

    @property
    def dispatch_weights(self) -> Tensor:
        """(B, M, E, P), the paper's D."""
        return self.weights().dispatch_weights

    @property
    def combine_weights(self) -> Tensor:
        """(B, M, E, P), the paper's C."""
        return self.weights().combine_weights

    def assigned(self) -> Tensor:
        """Return (T, E) bool, all true: every expert works on a mixture of every token."""
        return self.weights().assigned()

    def load(self) -> Tensor:
        """Return (E,) float64, all B * P: the slots that each expert works on."""
        return self.weights().load()

    def importance(self) -> Tensor:
        """Return (E,): the sum of the combine weights of each expert's slots."""
        return self.weights().importance()


def two_softmaxes(logits_BMEP: Tensor, *, unit_tokens: bool) -> Weights:
    """Return the decision with both weights written out: a softmax over tokens, and one over all slots."""
    return Weights(
        dispatch_weights=logits_BMEP.softmax(1),
        combine_weights=logits_BMEP.flatten(2).softmax(2).view_as(logits_BMEP),
        unit_tokens=unit_tokens,
    )


def logits_of(seen_BMD: Tensor, phi_DS: Tensor, slots_per_expert: int) -> Tensor:
    """Return the logits (B, M, E, P)."""
    logits_BMS = torch.matmul(seen_BMD, phi_DS)
    return logits_BMS.view(*seen_BMD.shape[:2], -1, slots_per_expert)
