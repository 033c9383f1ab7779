"""The costs of the published kinds of tokens choice: those of `token_choice` at the axes that each has fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.costs.sparse import token_choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.axes import AxisValue
    from bench.costs.cost import Axes, Cost

FIXED: Mapping[str, Mapping[str, AxisValue]] = {
    "switch": {"top_k": 1, "capacity_rounding": "ceil"},
    "gshard": {"top_k": 2, "capacity_rounding": "ceil"},
    "vmoe": {"capacity_rounding": "ceil4"},
    "mixtral": {"top_k": 2, "capacity_factor": None, "group_size": None, "activation": "swiglu"},
}
"""Layer -> axes of `token_choice` that it does not leave free."""


def switch(axes: Axes) -> Cost:
    """`token_choice` with one choice (Fedus et al. 2021, arXiv:2101.03961)."""
    return token_choice({**axes, **FIXED["switch"]})


def gshard(axes: Axes) -> Cost:
    """`token_choice` with two choices (Lepikhin et al. 2020, arXiv:2006.16668); dividing two gates is no product."""
    return token_choice({**axes, **FIXED["gshard"]})


def vmoe(axes: Axes) -> Cost:
    """`token_choice` with places in multiples of 4 (Riquelme et al. 2021, arXiv:2106.05974); noise is no product."""
    return token_choice({**axes, **FIXED["vmoe"]})


def mixtral(axes: Axes) -> Cost:
    """`token_choice` with two choices, dropless, SwiGLU: 3EDF + DE parameters (Jiang et al. 2024, arXiv:2401.04088)."""
    return token_choice({**axes, **FIXED["mixtral"]})
