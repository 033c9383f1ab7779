"""What a whole model costs, counted in the module itself on torch's meta device: no weight is ever held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench import costs
from bench.worker.finding import Finding, one
from bench.worker.subject import keywords, resolve

if TYPE_CHECKING:
    from bench.records import Task


def observe(task: Task) -> Finding:
    """Returns the parameters of a model and the FLOPs of a forward pass over its batch, 2 for each multiply-add."""
    sizes = costs.VARIANTS[str(task.case["variant"])]
    with torch.device("meta"):
        built = resolve(task.target)(**keywords(task)).eval()
        images = torch.empty(int(task.case["batch_size"] or 0), 3, sizes.image_size, sizes.image_size)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        built(images)
    return Finding(
        (
            *one("parameters_built", "count", sum(p.numel() for p in built.parameters())),
            *one("flops_built", "FLOP", counter.get_total_flops()),
        )
    )
