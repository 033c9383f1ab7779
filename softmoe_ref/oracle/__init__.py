"""The truth of the tests: every layer again, slow, in float64, as loops over sequences, tokens, choices and experts.

Nothing here is shared with the layers' routing or transport: decisions are made on Python's numbers with Python's sort,
so that the two can only agree by being right. Each expert runs once, on the stack of rows that it received. Equal gates
are served in order of their index. There is no training noise: the truth is that of evaluation.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from torch import Tensor

from softmoe_ref.moe import MoE
from softmoe_ref.oracle import (
    ablations,
    balanced_assignment,
    deepseek,
    dense,
    hash_routing,
    peer,
    remoe,
    smear,
    soft,
    sparse,
)
from softmoe_ref.oracle.loops import Parameters
from softmoe_ref.oracle.loops import Truth as Truth


class Oracle(NamedTuple):
    """A family's oracle, and the attributes of the family's router that it is called with as keywords."""

    truth: Callable[..., Truth]
    axes: tuple[str, ...] = ()


TOKEN_CHOICE: Final = Oracle(
    sparse.token_choice,
    ("top_k", "capacity_factor", "group_size", "batch_priority", "renormalize", "capacity_rounding"),
)

TABLE: Final[Mapping[str, Oracle]] = {
    "dense": Oracle(dense.dense),
    "soft": Oracle(soft.soft, ("normalize", "active_experts", "subset_choice", "renormalize_active")),
    "token_choice": TOKEN_CHOICE,
    "expert_choice": Oracle(sparse.expert_choice, ("capacity_factor", "group_size", "capacity_rounding")),
    "switch": TOKEN_CHOICE,
    "gshard": TOKEN_CHOICE,
    "vmoe": TOKEN_CHOICE,
    "mixtral": TOKEN_CHOICE,
    "smear": Oracle(smear.smear),
    "peer": Oracle(peer.peer, ("num_heads", "top_k")),
    "identity": Oracle(ablations.identity),
    "uniform": Oracle(ablations.uniform, ("slots_per_expert",)),
    "soft_uniform": Oracle(ablations.soft_uniform),
    "uniform_soft": Oracle(ablations.uniform_soft),
    "dense_active": Oracle(dense.dense),
    "dense_total": Oracle(dense.dense),
    "deepseek": Oracle(deepseek.deepseek, ("top_k", "expert_groups", "top_groups", "score", "route_scale", "bias")),
    "hash_routing": Oracle(hash_routing.hash_routing, ("num_experts",)),
    "balanced_assignment": Oracle(balanced_assignment.balanced_assignment, ("assignment", "training")),
    "remoe": Oracle(remoe.remoe),
}


def forward(layer: MoE, x: Tensor) -> Truth:
    """Return the truth for `layer` and the tokens `x` (B, M, D), computed in float64 from copies, without gradients.

    Raises:
        ValueError: if there is no oracle for this family.
    """
    if layer.name not in TABLE:
        raise ValueError(f"no oracle for layer {layer.name!r}")
    parameters = {name: p.detach().double() for name, p in layer.named_parameters()}
    return forward_with(layer.name, parameters, x.detach().double(), config(layer))


def forward_with(name: str, parameters: Parameters, x: Tensor, axes: Mapping[str, object]) -> Truth:
    """Return the truth for the family `name`, differentiable with respect to `parameters` and `x`, all float64.

    Args:
        name: a key of `TABLE`.
        parameters: the layer's parameters by their name in its state_dict.
        x: (B, M, D) tokens.
        axes: the keywords of that family's oracle, as `config` reads them from a layer.
    """
    return TABLE[name].truth(parameters, x, **axes)


def config(layer: MoE) -> dict[str, object]:
    """Return the routing axes of `layer` that its oracle needs."""
    return {axis: getattr(layer.router, axis) for axis in TABLE[layer.name].axes}
