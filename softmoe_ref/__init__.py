"""Reference Mixture-of-Experts layers: slow enough to read, fast enough to be a fair baseline.

Every layer maps tokens (B, M, D) to (B, M, D) and is a `MoE`: a router that decides, a stack of experts that computes.
A model holds layers in its blocks, and maps images to logits. `build` makes each by its name:

    layer = softmoe_ref.build("switch", d_model=384, d_ff=1536, num_experts=8)
    y = layer(x)
    decision = layer.route(x)  # frozen; decision.load(), decision.drop_rate(), ...
    penalties = layer.losses(x)  # auxiliary losses by name, unweighted; empty where the layer has none

The one legend of shape letters, used as suffixes of local tensors (`logits_BMEP`) and in einsum strings:

    B batch (sequences)          E experts                            R rows that an expert works on
    M tokens of a sequence       P slots per expert, or capacity      T all tokens, B * M
    D d_model                    S slots of a sequence, E * P         G groups of tokens that are routed together
    F d_ff                       K top_k                              N tokens of a group, T / G
    H heads                      U numbers of a head, D / H           C classes; width of a sub-key (PEER)
    Q sub-keys of a half (PEER)  A neurons of a token, H * K (PEER)
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from torch import nn

from softmoe_ref import (
    ablations,
    arguments,
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
    vit,
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
from softmoe_ref.vit import ViT as ViT

__all__ = [
    "MODELS",
    "TABLE",
    "Assignments",
    "Decision",
    "Experts",
    "MoE",
    "SortedRows",
    "Truth",
    "ViT",
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
    "vit",
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

MODELS: Final[Mapping[str, Callable[..., nn.Module]]] = {"vit": vit.vit}


def build(layer: str, **axes: object) -> nn.Module:
    """Return the layer or model of that name, its weights drawn from torch's global generator.

    Args:
        layer: a key of `TABLE`, such as "dense", "soft" or "token_choice", or of `MODELS`, such as "vit".
        **axes: the keywords of that factory, for example `d_model`, `d_ff`, `num_experts`; `help(TABLE[layer])` says
            what each means. A model takes a key of `TABLE` as `moe` ("dense" by default), and whatever it does not name
            itself goes to that layer.

    Raises:
        ValueError: for an unknown name, or an axis whose value the layer cannot take.
        TypeError: for a keyword that the layer does not know, or one that it needs and did not get.
    """
    if layer in MODELS:
        return _build_model(layer, axes)
    if layer not in TABLE:
        raise ValueError(f"unknown layer {layer!r}; allowed: {', '.join((*TABLE, *MODELS))}")
    parameters = inspect.signature(TABLE[layer]).parameters
    _check(layer, parameters, axes)
    return TABLE[layer](**axes)


def _build_model(model: str, axes: Mapping[str, object]) -> nn.Module:
    """Return a model; the sizes of its layers, which it knows itself, are no keywords of it."""
    named = inspect.signature(MODELS[model]).parameters
    moe = axes.get("moe", "dense")
    arguments.one_of("moe", moe, TABLE)
    layer = TABLE[str(moe)]
    of_layer = {n: p for n, p in inspect.signature(layer).parameters.items() if n not in ("d_model", "d_ff", *named)}
    _check(f"{model} with moe={moe}", {**named, **of_layer}, axes)
    own = {name: value for name, value in axes.items() if name in named}
    passed_on = {name: value for name, value in axes.items() if name in of_layer}
    return MODELS[model](**{**own, "moe": partial(layer, **passed_on)})


def _check(name: str, parameters: Mapping[str, inspect.Parameter], axes: Mapping[str, object]) -> None:
    """Raise TypeError unless the axes are keywords of the layer and all that it needs are there."""
    unknown = [axis for axis in axes if axis not in parameters]
    if unknown:
        raise TypeError(f"layer {name!r} takes no {', '.join(unknown)}; allowed: {', '.join(parameters)}")
    missing = [axis for axis, p in parameters.items() if p.default is p.empty and axis not in axes]
    if missing:
        raise TypeError(f"layer {name!r} needs {', '.join(missing)}; got: {', '.join(axes) or 'nothing'}")
