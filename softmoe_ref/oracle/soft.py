"""Oracle of Soft MoE."""

import torch
from torch import Tensor

from softmoe_ref.oracle import loops
from softmoe_ref.oracle.loops import Parameters, Truth


def soft(parameters: Parameters, x: Tensor, *, normalize: str) -> Truth:
    """Return Soft MoE, arXiv:2308.00951 algorithms 1 and 2, slot by slot and token by token."""
    phi, scale = parameters["router.phi"], parameters["router.scale"]
    _, experts, slots = phi.shape
    inboxes: list[list[Tensor]] = [[] for _ in range(experts)]
    logits = []
    for sequence in x:
        unit_tokens = torch.stack([loops.unit(token) for token in sequence])
        seen = sequence if normalize == "none" else unit_tokens
        mixed = unit_tokens if normalize == "tokens" else sequence
        columns = []
        for e in range(experts):
            for p in range(slots):
                direction = phi[:, e, p] if normalize == "none" else loops.unit(phi[:, e, p])
                columns.append(scale * (seen @ direction))
                inboxes[e].append(loops.softmax(columns[-1]) @ mixed)
        logits.append(torch.stack(columns, dim=1))
    outboxes = loops.run_experts(parameters, inboxes)
    y = []
    for b in range(len(x)):
        slot_outputs = torch.cat([outbox[b * slots : (b + 1) * slots] for outbox in outboxes])
        y.append(torch.stack([loops.softmax(row) @ slot_outputs for row in logits[b]]))
    everyone = torch.ones(x.shape[0] * x.shape[1], experts, dtype=torch.bool, device=x.device)
    return Truth(torch.stack(y), everyone)
