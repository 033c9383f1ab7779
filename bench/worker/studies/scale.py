"""Whether a layer's output depends on the length of its tokens: one that mixes normalised tokens cannot know it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from bench import layers
from bench.records import Observation
from bench.worker.finding import Finding
from bench.worker.subject import build

if TYPE_CHECKING:
    from bench.records import Task

FACTOR = 10.0
"""Each token is made up to so many times as long or as short, evenly on the logarithm."""


def observe(task: Task) -> Finding:
    """Returns the largest change of the output, over its largest number, when each token gets a length of its own.

    One sample for each of the subject's batches; the version of the package goes into the facts.
    """
    subject = build(task)
    generator = torch.Generator().manual_seed(int(task.case["seed"] or 0))
    changes = []
    with torch.inference_mode():
        for x_BMD in subject.batches:
            power_BM1 = 2 * torch.rand(*x_BMD.shape[:2], 1, generator=generator) - 1
            factor_BM1 = torch.exp(math.log(FACTOR) * power_BM1).to(x_BMD)
            y_BMD, rescaled_BMD = subject.run(x_BMD), subject.run(factor_BM1 * x_BMD)
            changes.append(float((rescaled_BMD - y_BMD).abs().max() / y_BMD.abs().max()))
    package = layers.of_case(task.case).package
    return Finding(
        (Observation("scale_change", "ratio", tuple(changes)),),
        facts={} if package is None else {"package_version": package.installed},
    )
