"""What the routers share that let every token go where it wants: no capacity, nothing dropped."""

import torch
from torch import Tensor

from softmoe_ref.routing import Assignments
from softmoe_ref.token_choice import line_up


def assign(shape: tuple[int, int], expert_GNK: Tensor, gate_GNK: Tensor, gates_GNE: Tensor) -> Assignments:
    """Return the facts of a decision that sends each token to all of its K experts.

    Args:
        shape: B and M.
        expert_GNK: the experts of each token, no expert twice.
        gate_GNK: the weight of each expert's output in the token's output.
        gates_GNE: the router's weights of all experts, which `importance` sums up.
    """
    num_groups, size, _ = expert_GNK.shape
    token_GN = torch.arange(num_groups * size, device=expert_GNK.device).view(num_groups, size)
    return Assignments(
        shape=shape,
        token=token_GN.unsqueeze(2).expand_as(expert_GNK),
        expert=expert_GNK,
        place=line_up(expert_GNK, gates_GNE.shape[2], None),
        gate=gate_GNK,
        kept=torch.ones_like(expert_GNK, dtype=torch.bool),
        gates=gates_GNE,
        capacity=None,
    )
