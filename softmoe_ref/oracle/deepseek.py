"""Oracle of DeepSeekMoE."""

import torch
from torch import Tensor
from torch.nn import functional

from softmoe_ref.oracle import loops
from softmoe_ref.oracle.loops import Parameters, Truth


def deepseek(
    parameters: Parameters,
    x: Tensor,
    *,
    top_k: int,
    expert_groups: int,
    top_groups: int,
    score: str,
    route_scale: float,
    bias: Tensor | None,
) -> Truth:
    """Return DeepSeekMoE, arXiv:2401.06066 and 2412.19437, token by token."""
    weight = parameters["router.weight"]
    experts = weight.shape[1]
    size = experts // expert_groups
    offsets = [0.0] * experts if bias is None else bias.tolist()
    tokens = [token for sequence in x for token in sequence]
    served: list[list[tuple[int, Tensor]]] = [[] for _ in range(experts)]
    for t, token in enumerate(tokens):
        logits = token @ weight
        scores = 1 / (1 + torch.exp(-logits)) if score == "sigmoid" else loops.softmax(logits)
        ranks = [value + offset for value, offset in zip(scores.tolist(), offsets, strict=True)]
        in_group = [sorted(ranks[g * size : (g + 1) * size], reverse=True) for g in range(expert_groups)]
        worth = [sum(best[:2]) if score == "sigmoid" else best[0] for best in in_group]
        kept = sorted(range(expert_groups), key=lambda g, w=worth: -w[g])[:top_groups]  # type: ignore[misc]
        allowed = [e for e in range(experts) if e // size in kept]
        chosen = sorted(allowed, key=lambda e, r=ranks: -r[e])[:top_k]  # type: ignore[misc]
        weights = [scores[e] for e in chosen]
        if score == "sigmoid":  # each over their sum; from logarithms, since all of them may be 0 in float64
            weights = list(loops.softmax(torch.stack([functional.logsigmoid(logits[e]) for e in chosen])))
        for e, part in zip(chosen, weights, strict=True):
            served[e].append((t, route_scale * part))
    routed = loops.outputs(parameters, x, served)
    if "shared.w1" not in parameters:
        return routed
    shared = loops.run_experts(parameters, [tokens], stack="shared")[0]
    return Truth(routed.y + shared.reshape(x.shape), routed.assigned)
