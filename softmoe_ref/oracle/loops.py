"""What all oracles share: softmax, groups, rounding and experts, one row after the other, in float64."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Truth:
    """What a layer should have computed.

    Attributes:
        y: (B, M, D) float64, differentiable with respect to the parameters and tokens that were given.
        assigned: (B * M, E) bool: this expert works on this token.
    """

    y: Tensor
    assigned: Tensor


def unit(vector: Tensor) -> Tensor:
    """Return the vector at length 1, as `softmoe_ref.routing.unit` defines it."""
    return vector / (vector.dot(vector) + 1e-6).sqrt()


def softmax(logits: Tensor) -> Tensor:
    """Return the softmax of a vector."""
    powers = (logits - logits.detach().max()).exp()
    return powers / powers.sum()


def gates(parameters: Parameters, x: Tensor) -> list[Tensor]:
    """Return for each token the softmax over all experts of its logits."""
    weight = parameters["router.weight"]
    return [softmax(token @ weight) for sequence in x for token in sequence]


def groups(x: Tensor, group_size: int | None) -> list[list[int]]:
    """Return the tokens of each group, by their number in the flattened batch."""
    tokens = list(range(x.shape[0] * x.shape[1]))
    size = group_size or x.shape[1]
    return [tokens[start : start + size] for start in range(0, len(tokens), size)]


def rounded(places: float, rounding: str) -> int:
    """Return a whole capacity."""
    if rounding == "round":
        return round(places)
    whole = math.ceil(places)
    while rounding == "ceil4" and whole % 4:
        whole += 1
    return whole


def run_experts(parameters: Parameters, inboxes: Sequence[Sequence[Tensor]], stack: str = "experts") -> list[Tensor]:
    """Return what each expert of the named `stack` makes of the rows in its inbox; no biases mean SwiGLU."""
    w1s, w2s = parameters[f"{stack}.w1"].unbind(0), parameters[f"{stack}.w2"].unbind(0)
    outboxes = []
    for e, (inbox, w1, w2) in enumerate(zip(inboxes, w1s, w2s, strict=True)):
        if not inbox:
            outboxes.append(w2.new_zeros(0, w2.shape[1]))
            continue
        z = torch.stack(list(inbox)) @ w1
        if f"{stack}.b1" in parameters:
            z = z + parameters[f"{stack}.b1"][e]
            hidden = 0.5 * z * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
            outboxes.append(hidden @ w2 + parameters[f"{stack}.b2"][e])
        else:
            width = z.shape[1] // 2
            outboxes.append((z[:, :width] / (1 + torch.exp(-z[:, :width])) * z[:, width:]) @ w2)
    return outboxes


def outputs(parameters: Parameters, x: Tensor, served: Sequence[Sequence[tuple[int, Tensor]]]) -> Truth:
    """Return the sum of gate times expert over each token's experts, from the (token, gate) pairs that each served."""
    tokens = x.reshape(-1, x.shape[-1]).unbind(0)
    outboxes = run_experts(parameters, [[tokens[t] for t, _ in inbox] for inbox in served])
    y = [torch.zeros_like(token) for token in tokens]
    assigned = torch.zeros(len(tokens), len(served), dtype=torch.bool)
    for e, inbox in enumerate(served):
        for (t, gate), row in zip(inbox, outboxes[e].unbind(0), strict=True):
            y[t] = y[t] + gate * row
            assigned[t, e] = True
    return Truth(torch.stack(y).reshape(x.shape), assigned.to(x.device))
