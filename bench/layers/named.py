"""Tokens choice under the names of the papers that fixed its choices.

A case states every axis that its layer takes: what is measured is the capacity_factor of the case, not the paper's,
which is the factory's default. Training noise is part of what a forward_backward case measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import costs
from bench.costs.named import FIXED
from bench.layers.layer import ORACLE, Layer
from bench.layers.sparse import BACKENDS, token_choice_impossible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.axes import AxisValue


def _impossible(name: str) -> Callable[[Mapping[str, AxisValue]], str | None]:
    """Returns the function that says why a case of the named layer has no meaning."""
    return lambda axes: token_choice_impossible({**axes, **FIXED[name]})


ROWS = (
    Layer(
        "switch",
        "Switch (top-1)",
        "softmoe_ref.switch:switch",
        ("num_experts", "capacity_factor", "group_size", "activation"),
        BACKENDS,
        costs.switch,
        ORACLE,
        _impossible("switch"),
    ),
    Layer(
        "gshard",
        "GShard (top-2)",
        "softmoe_ref.gshard:gshard",
        ("num_experts", "capacity_factor", "group_size", "activation"),
        BACKENDS,
        costs.gshard,
        ORACLE,
        _impossible("gshard"),
    ),
    Layer(
        "vmoe",
        "V-MoE (noisy top-k)",
        "softmoe_ref.vmoe:vmoe",
        ("num_experts", "top_k", "capacity_factor", "group_size", "batch_priority", "activation"),
        BACKENDS,
        costs.vmoe,
        ORACLE,
        _impossible("vmoe"),
    ),
    Layer(
        "mixtral",
        "Mixtral (dropless top-2)",
        "softmoe_ref.mixtral:mixtral",
        ("num_experts",),
        BACKENDS,
        costs.mixtral,
        ORACLE,
        _impossible("mixtral"),
    ),
)
