"""Oracles of the ablations of Soft MoE."""

import torch
from torch import Tensor

from softmoe_ref.oracle import loops
from softmoe_ref.oracle.loops import Parameters, Truth


def identity(parameters: Parameters, x: Tensor) -> Truth:
    """Return the layer that hands out the tokens of each sequence in order, the same number to every expert."""
    experts = len(parameters["experts.w1"])
    length = x.shape[1]
    homes = [t * experts // length for t in range(length)]
    inboxes: list[list[Tensor]] = [[] for _ in range(experts)]
    for sequence in x:
        for home, token in zip(homes, sequence, strict=True):
            inboxes[home].append(token)
    outboxes = [iter(outbox.unbind(0)) for outbox in loops.run_experts(parameters, inboxes)]
    y = [torch.stack([next(outboxes[home]) for home in homes]) for _ in x]
    assigned = [[home == e for e in range(experts)] for home in homes] * len(x)
    return Truth(torch.stack(y), torch.tensor(assigned, device=x.device))


def uniform(parameters: Parameters, x: Tensor, *, slots_per_expert: int) -> Truth:
    """Return the layer that averages on both sides."""
    slots = len(parameters["experts.w1"]) * slots_per_expert
    means = [_mean(sequence) for sequence in x]
    return _outputs(parameters, x, [[mean] * slots for mean in means], None)


def soft_uniform(parameters: Parameters, x: Tensor) -> Truth:
    """Return the layer with Soft MoE's slots, averaged."""
    columns = [_columns(parameters, sequence) for sequence in x]
    slots = [[loops.softmax(c) @ sequence for c in column] for column, sequence in zip(columns, x, strict=True)]
    return _outputs(parameters, x, slots, None)


def uniform_soft(parameters: Parameters, x: Tensor) -> Truth:
    """Return the layer with one mean token in all slots, combined as in Soft MoE."""
    columns = [_columns(parameters, sequence) for sequence in x]
    slots = [[_mean(sequence)] * len(column) for column, sequence in zip(columns, x, strict=True)]
    return _outputs(parameters, x, slots, [torch.stack(column, dim=1) for column in columns])


def _mean(vectors: Tensor) -> Tensor:
    return sum(vectors.unbind(0), start=torch.zeros_like(vectors[0])) / len(vectors)


def _columns(parameters: Parameters, sequence: Tensor) -> list[Tensor]:
    """Return for each slot, contiguous per expert, the logits of all tokens."""
    phi, scale = parameters["router.phi"], parameters["router.scale"]
    tokens = torch.stack([loops.unit(token) for token in sequence])
    return [scale * (tokens @ loops.unit(direction)) for expert in phi.unbind(1) for direction in expert.unbind(1)]


def _outputs(parameters: Parameters, x: Tensor, slots: list[list[Tensor]], logits: list[Tensor] | None) -> Truth:
    """Return what the experts make of each sequence's slots, combined by a softmax of `logits` (M, S), or averaged."""
    experts = len(parameters["experts.w1"])
    share = len(slots[0]) // experts
    inboxes = [[s for sequence in slots for s in sequence[e * share : (e + 1) * share]] for e in range(experts)]
    outboxes = loops.run_experts(parameters, inboxes)
    y = []
    for b in range(len(x)):
        rows = torch.cat([outbox[b * share : (b + 1) * share] for outbox in outboxes])
        if logits is None:
            y.append(torch.stack([_mean(rows)] * x.shape[1]))
        else:
            y.append(torch.stack([loops.softmax(row) @ rows for row in logits[b]]))
    return Truth(torch.stack(y), torch.ones(x.shape[0] * x.shape[1], experts, dtype=torch.bool, device=x.device))
