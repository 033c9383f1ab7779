"""Oracle of Soft MoE."""

import torch
from torch import Tensor

from softmoe_ref.oracle import loops
from softmoe_ref.oracle.loops import Parameters, Truth


def soft(
    parameters: Parameters,
    x: Tensor,
    *,
    normalize: str,
    active_experts: int | None = None,
    subset_choice: str = "combine",
    renormalize_active: bool = False,
) -> Truth:
    """Return Soft MoE, arXiv:2308.00951 algorithms 1 and 2, slot by slot and token by token.

    With `active_experts`, arXiv:2409.00879 algorithm 1: all experts run, and the combine weights of those that are not
    among the best of a sequence are set to 0.
    """
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
    draws = torch.rand(len(x), experts, generator=torch.Generator().manual_seed(240900879)).tolist()
    y, kept = [], []
    for b in range(len(x)):
        slot_outputs = torch.cat([outbox[b * slots : (b + 1) * slots] for outbox in outboxes])
        combine = torch.stack([loops.softmax(row) for row in logits[b]])
        scores = draws[b] if subset_choice == "random" else combine.sum(0).view(experts, slots).sum(1).tolist()
        best = sorted(range(experts), key=lambda e, s=scores: -s[e])[:active_experts]  # type: ignore[misc]
        kept.append(torch.tensor([e in best for e in range(experts)]))
        columns_kept = kept[b].repeat_interleave(slots)
        if renormalize_active:
            y.append(torch.stack([loops.softmax(row[columns_kept]) for row in logits[b]]) @ slot_outputs[columns_kept])
        else:
            y.append((combine * columns_kept) @ slot_outputs)
    return Truth(torch.stack(y), torch.stack(kept).repeat_interleave(x.shape[1], dim=0).to(x.device))
