"""What a worker looks at once for a claim, instead of timing a layer: one file and one line here for each study.

A study returns observations under names of its own; samples are what it repeated: seeds, models, inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.worker.studies import model, norm, norm_trained, scale, subsets

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.records import Task
    from bench.worker.finding import Finding

TABLE: dict[str, Callable[[Task], Finding]] = {
    "model": model.observe,
    "norm": norm.observe,
    "norm_trained": norm_trained.observe,
    "scale": scale.observe,
    "subsets": subsets.observe,
}
