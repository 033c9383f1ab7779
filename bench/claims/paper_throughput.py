"""Training throughput against the number of experts, from the Soft MoE paper's Figure 6."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One row of a panel: images per second by the number of experts, the total number of slots being the same.

    `inferred` where the figure does not say which column a cell belongs to, because the row has fewer cells than the
    panel has columns.
    """

    layer: str
    slots_per_token: int
    images_per_s: dict[int, int]
    inferred: bool = False

    @property
    def title(self) -> str:
        """The layer with its slots per token."""
        plural = "" if self.slots_per_token == 1 else "s"
        return f"{NAMES[self.layer]}, {self.slots_per_token} slot{plural} per token"

    def slowdown(self, few: int, many: int) -> float | None:
        """Returns how many times as long a step takes with many experts as with few, None where it has no such cell."""
        if few not in self.images_per_s or many not in self.images_per_s:
            return None
        return self.images_per_s[few] / self.images_per_s[many]


NAMES = {"soft": "Soft MoE", "token_choice": "tokens choice", "expert_choice": "experts choice"}
SOURCE = "arXiv:2308.00951v2, Figure 6"

SOFT_1 = Row("soft", 1, {8: 379, 16: 378, 32: 375, 64: 371, 128: 367, 256: 365})
SOFT_16 = Row(
    "soft",
    16,
    {8: 142, 16: 142, 32: 141, 64: 140, 128: 141, 256: 131, 512: 137, 1024: 134, 2048: 129, 4096: 132},
)
EXPERT_CHOICE_1 = Row("expert_choice", 1, {8: 374, 16: 373, 32: 369, 64: 361, 128: 360, 256: 344})
EXPERT_CHOICE_16 = Row(
    "expert_choice",
    16,
    {16: 133, 32: 132, 64: 131, 128: 131, 256: 125, 512: 122, 1024: 119, 2048: 107, 4096: 91},
    inferred=True,
)
TOKEN_CHOICE_16 = Row(
    "token_choice",
    16,
    {8: 131, 16: 132, 32: 131, 64: 129, 128: 128, 256: 117, 512: 107, 1024: 92, 2048: 69, 4096: 45},
)

ROWS = (SOFT_1, SOFT_16, EXPERT_CHOICE_1, EXPERT_CHOICE_16, TOKEN_CHOICE_16)
"""Those used here; the row of tokens choice at one slot per token has a missing cell and is left out."""
