"""The costs of other people's layers that compute a function of ours: its formula, with their own parameters.

What a package does beside the products (a loop over experts, copies) is no FLOP. The layers without a twin have no
formula: how much of their work is useful depends on a coin that they toss.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.costs.cost import DTYPE_BYTES, whole
from bench.costs.soft import soft
from bench.costs.sparse import token_choice

if TYPE_CHECKING:
    from bench.costs.cost import Axes, Cost


def soft_moe_pytorch(axes: Axes) -> Cost:
    """`soft` without a scale, with the 2D gammas of two norms."""
    return _further(soft(axes), axes, 2 * whole(axes, "d_model") - 1)


def soft_mixture_of_experts(axes: Axes) -> Cost:
    """`soft` without a scale."""
    return _further(soft(axes), axes, -1)


def soft_moe_bwconrad(axes: Axes) -> Cost:
    """`soft`."""
    return soft(axes)


def mixtral_transformers(axes: Axes) -> Cost:
    """`token_choice`, dropless, with SwiGLU experts; both implementations compute the chosen rows and no others."""
    return token_choice({**axes, "capacity_factor": None, "activation": "swiglu", "backend": "grouped"})


def _further(cost: Cost, axes: Axes, parameters: int) -> Cost:
    """The cost with so many parameters more, each read once."""
    size = parameters * DTYPE_BYTES[str(axes["dtype"])]
    return replace(
        cost,
        parameters=cost.parameters + parameters,
        parameter_bytes=cost.parameter_bytes + size,
        min_bytes=None if cost.min_bytes is None else cost.min_bytes + size,
    )
