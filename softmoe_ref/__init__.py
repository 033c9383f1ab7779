"""Reference Mixture-of-Experts layers: slow enough to read, fast enough to be a fair baseline.

Every layer maps tokens (B, M, D) to (B, M, D) and is a `MoE`: a router that decides, a stack of experts that computes.

The one legend of shape letters, used as suffixes of local tensors (`logits_BMEP`) and in einsum strings:

    B batch (sequences)          E experts                            R rows that an expert works on
    M tokens of a sequence       P slots per expert, or capacity      T all tokens, B * M
    D d_model                    S slots of a sequence, E * P         G groups of tokens that are routed together
    F d_ff                       K top_k                              N tokens of a group, T / G
    H heads (PEER)               Q sub-keys of a half, sqrt(E)        C width of a sub-key
    A neurons of a token, H * K
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Final

from torch import nn

from softmoe_ref import (
    ablations,
    balanced_assignment,
    deepseek,
    dense,
    expert_choice,
    gshard,
    hash_routing,
    mixtral,
    oracle,
    peer,
    remoe,
    smear,
    soft,
    switch,
    token_choice,
    vmoe,
)
from softmoe_ref.experts import Experts as Experts
from softmoe_ref.experts import SortedRows as SortedRows
from softmoe_ref.moe import MoE as MoE
from softmoe_ref.oracle import Truth as Truth
from softmoe_ref.routing import Assignments as Assignments
from softmoe_ref.routing import Decision as Decision
from softmoe_ref.routing import Weights as Weights
from softmoe_ref.routing import capacity as capacity

__all__ = [
    "TABLE",
    "Assignments",
    "Decision",
    "Experts",
    "MoE",
    "SortedRows",
    "Truth",
    "Weights",
    "ablations",
    "balanced_assignment",
    "build",
    "capacity",
    "deepseek",
    "dense",
    "expert_choice",
    "gshard",
    "hash_routing",
    "mixtral",
    "oracle",
    "peer",
    "remoe",
    "smear",
    "soft",
    "switch",
    "token_choice",
    "vmoe",
]

TABLE: Final[Mapping[str, Callable[..., MoE]]] = {
    "dense": dense.dense,
    "soft": soft.soft,
    "token_choice": token_choice.token_choice,
    "expert_choice": expert_choice.expert_choice,
    "switch": switch.switch,
    "gshard": gshard.gshard,
    "vmoe": vmoe.vmoe,
    "mixtral": mixtral.mixtral,
    "smear": smear.smear,
    "peer": peer.peer,
    "identity": ablations.identity,
    "uniform": ablations.uniform,
    "soft_uniform": ablations.soft_uniform,
    "uniform_soft": ablations.uniform_soft,
    "dense_active": dense.dense_active,
    "dense_total": dense.dense_total,
    "deepseek": deepseek.deepseek,
    "hash_routing": hash_routing.hash_routing,
    "balanced_assignment": balanced_assignment.balanced_assignment,
    "remoe": remoe.remoe,
}


def build(name: str, **axes: object) -> nn.Module:
    """Return the layer `name`, its weights drawn from torch's global generator.

    Args:
        name: a key of `TABLE`.
        **axes: the keywords of that layer's factory, for example `d_model`, `d_ff`, `num_experts`.

    Raises:
        ValueError: for an unknown name, or an axis whose value the layer cannot take.
        TypeError: for a keyword that the layer does not know, or one that it needs and did not get.
    """
    if name not in TABLE:
        raise ValueError(f"unknown layer {name!r}; allowed: {', '.join(TABLE)}")
    parameters = inspect.signature(TABLE[name]).parameters
    unknown = [axis for axis in axes if axis not in parameters]
    if unknown:
        raise TypeError(f"layer {name!r} takes no {', '.join(unknown)}; allowed: {', '.join(parameters)}")
    missing = [axis for axis, p in parameters.items() if p.default is p.empty and axis not in axes]
    if missing:
        raise TypeError(f"layer {name!r} needs {', '.join(missing)}; got: {', '.join(axes) or 'nothing'}")
    return TABLE[name](**axes)
