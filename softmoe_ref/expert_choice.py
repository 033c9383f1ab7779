"""Experts choice: each expert takes the tokens of a group that want it most, always as many as it has places.

    p = softmax(X W)  over experts, for each token;    y_t = sum over the experts e that took t of p_te f_e(x_t)

Every buffer is full, so nothing is refused and `drop_rate` is 0; a token that no expert took has output 0 and counts in
`unrouted_rate`. Which of several tokens with exactly the same gate an expert takes is not defined (`torch.topk`).

Source: Zhou et al. 2022, arXiv:2202.09368; the details follow google-research/vmoe at 942a78b, nn/routing.py
(NoisyTopItemsPerExpertRouter) without its training noise, and moe.py: gates are not renormalised.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, final

import torch
from torch import Tensor

from softmoe_ref import arguments
from softmoe_ref.experts import Experts
from softmoe_ref.moe import LinearRouter, MoE
from softmoe_ref.routing import ROUNDINGS, Assignments, Decision, capacity, grouping
from softmoe_ref.transport import OneHot, Scattered

BACKENDS: Final[Mapping[str, Callable[[Assignments], Decision[Any]]]] = {
    "einsum": OneHot.of,
    "indexed": Scattered.of,
}


@final
class ExpertChoiceRouter(LinearRouter):
    """Router of experts choice.

    Attributes:
        weight: (D, E); no bias.
    """

    def __init__(
        self,
        d_model: int,
        num_experts: int,
        *,
        capacity_factor: float,
        group_size: int | None,
        backend: str,
        capacity_rounding: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(d_model, num_experts, device=device, dtype=dtype)
        arguments.positive_number("capacity_factor", capacity_factor)
        if group_size is not None:
            arguments.positive_integer("group_size", group_size)
        arguments.one_of("backend", backend, BACKENDS)
        arguments.one_of("capacity_rounding", capacity_rounding, ROUNDINGS)
        self.capacity_factor = capacity_factor
        self.group_size = group_size
        self.backend = backend
        self.capacity_rounding = capacity_rounding
        self.reset_parameters()

    def forward(self, x: Tensor) -> Decision[Any]:
        """Return the decision for the tokens `x` (B, M, D); logits and softmax are at least float32.

        Raises:
            ValueError: if an expert has more places than a group has tokens.
        """
        shape = (x.shape[0], x.shape[1])
        num_groups, size = grouping(shape, self.group_size)
        num_experts = self.weight.shape[1]
        places = capacity(size, num_experts, self.capacity_factor, rounding=self.capacity_rounding)
        if places > size:
            raise ValueError(
                f"capacity_factor must leave an expert at most the group's {size} tokens, got {self.capacity_factor}: "
                f"{places} places with {num_experts} experts"
            )
        gates_GNE = self.logits(x.reshape(num_groups, size, -1)).softmax(2)
        gate_GEP, token_GEP = gates_GNE.transpose(1, 2).topk(places, dim=2)
        group = torch.arange(num_groups, device=x.device).view(-1, 1, 1)
        facts = Assignments(
            shape=shape,
            token=group * size + token_GEP,
            expert=torch.arange(num_experts, device=x.device).view(1, -1, 1).expand_as(token_GEP),
            place=torch.arange(places, device=x.device).view(1, 1, -1).expand_as(token_GEP),
            gate=gate_GEP,
            kept=torch.ones_like(token_GEP, dtype=torch.bool),
            gates=gates_GNE,
            capacity=places,
        )
        return BACKENDS[self.backend](facts)


def expert_choice(  # noqa: PLR0913 - one keyword per axis of a case
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    capacity_factor: float = 1.0,
    group_size: int | None = None,
    backend: str = "einsum",
    capacity_rounding: str = "round",
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return an experts choice layer.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert.
        num_experts: E.
        capacity_factor: the experts that a token gets on average: each takes round(N * capacity_factor / E) tokens.
        group_size: the tokens that an expert chooses among, consecutive in the flattened batch; None for one sequence.
        backend: `einsum`, the papers' one-hot products, quadratic in the group; or `indexed`, gather and add.
        capacity_rounding: see `softmoe_ref.routing.capacity`.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
        device: where the weights are.
        dtype: of the weights.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = ExpertChoiceRouter(
        d_model,
        num_experts,
        capacity_factor=capacity_factor,
        group_size=group_size,
        backend=backend,
        capacity_rounding=capacity_rounding,
        device=device,
        dtype=dtype,
    )
    return MoE("expert_choice", router, experts)
