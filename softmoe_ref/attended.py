"""Soft MoE mixing as attention, in torch's fused kernels, which never hold a (tokens x slots) matrix.

Dispatch is attention whose queries are the slots' vectors phi and whose keys and values are the tokens; combine is
attention whose queries are the tokens and whose keys are phi: softmax over keys is the softmax over tokens in the one
and over slots in the other, so values and gradients are exact.
"""

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from softmoe_ref.mixing import Mixing, logits_of, two_softmaxes
from softmoe_ref.routing import Weights


@final
@dataclass(frozen=True)
class Attended(Mixing):
    """Dense decision that keeps what its logits are products of.

    Attributes:
        seen: (B, M, D), the tokens as the logits see them.
        slot_vectors: (S, D), phi with a slot in each row, times the scale; contiguous, or torch takes the way of
            quadratic memory without a word.
        slots_per_expert: P.
        unit_tokens: whether the slots mix the L2-normalised tokens instead of the tokens themselves.
    """

    seen: Tensor
    slot_vectors: Tensor
    slots_per_expert: int
    unit_tokens: bool

    def mix_tokens(self, x: Tensor) -> Tensor:
        """Return the slots (B, S, D)."""
        return _attention(self._phi(x), self.seen.to(x.dtype), x)

    def mix_slots(self, y: Tensor) -> Tensor:
        """Return the outputs (B, M, D)."""
        return _attention(self.seen.to(y.dtype), self._phi(y), y)

    def weights(self) -> Weights:
        """Return the same decision with its weights written out."""
        return two_softmaxes(
            logits_of(self.seen, self.slot_vectors.mT, self.slots_per_expert), unit_tokens=self.unit_tokens
        )

    def _phi(self, like: Tensor) -> Tensor:
        return self.slot_vectors.to(like.dtype).expand(len(like), -1, -1)


def _attention(query_BQD: Tensor, key_BKD: Tensor, value_BKD: Tensor) -> Tensor:
    query, key, value = (t.unsqueeze(1) for t in (query_BQD, key_BKD, value_BKD))  # one head
    return scaled_dot_product_attention(query, key, value, scale=1.0).squeeze(1)
