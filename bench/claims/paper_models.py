"""The models of the Soft MoE paper's Table 8, as its evaluation and training columns have them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """A row: backbone, experts (None: dense), parameters as printed, GFLOP of one image, training steps and exaFLOP.

    `seconds` is the inference time of one image, printed in milliseconds with one decimal; on which device, and in
    batches of which size, is not stated.
    """

    backbone: str
    num_experts: int | None
    parameters: str
    gflop: float
    steps: int
    exaflop: float
    seconds: float

    @property
    def name(self) -> str:
        """What it is called in the paper."""
        return f"ViT {self.backbone}" if self.num_experts is None else f"Soft MoE {self.backbone}, {self.num_experts} E"

    @property
    def axes(self) -> dict[str, object]:
        """Its axes."""
        if self.num_experts is None:
            return {"variant": self.backbone, "moe": "dense"}
        return {"variant": self.backbone, "moe": "soft", "num_experts": self.num_experts, "slots_per_expert": 1}


SOURCE = "arXiv:2308.00951v2, Table 8"
BATCH = 4096

MODELS = (
    Model("S/16", None, "33M", 9.2, 4_000_000, 227.1, 0.5e-3),
    Model("S/16", 128, "933M", 8.6, 4_000_000, 211.9, 0.7e-3),
    Model("S/14", 256, "1.8B", 13.2, 4_000_000, 325.7, 0.9e-3),
    Model("B/16", None, "108M", 35.1, 4_000_000, 864.1, 1.3e-3),
    Model("B/16", 128, "3.7B", 32.0, 4_000_000, 786.4, 1.5e-3),
    Model("L/16", None, "333M", 122.9, 4_000_000, 3025.4, 4.9e-3),
    Model("L/16", 128, "13.1B", 111.1, 4_000_000, 2734.1, 4.8e-3),
    Model("H/14", None, "669M", 334.2, 2_000_000, 4120.3, 8.6e-3),
    Model("H/14", 128, "27.3B", 284.6, 2_000_000, 3509.2, 8.8e-3),
    Model("H/14", 256, "54.1B", 342.4, 2_000_000, 4220.3, 10.9e-3),
)
