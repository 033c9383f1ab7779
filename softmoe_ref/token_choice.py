"""Tokens choice: each token goes to its K best experts, as long as their buffers have room.

    p = softmax(X W)  over all experts;    y_t = sum over the kept e in top-K(p_t) of p_te f_e(x_t)

Each expert takes at most round(N K capacity_factor / E) tokens from a group of N. All first choices take their places
before any second choice, in the order of the tokens, or with batch priority by descending first gate. What finds no
place is dropped; a token without any place has output 0.

In training mode, and only there, the router may add noise to X W, so that one noisy softmax both chooses and weighs, or
jitter the tokens that it looks at; the experts see the tokens as they are.

Source: Shazeer et al. 2017, arXiv:1701.06538 (top-K gating); Riquelme et al. 2021, arXiv:2106.05974 (softmax before the
top-K, batch priority routing, noise); the details follow google-research/vmoe at 942a78b, nn/routing.py
(NoisyTopExpertsPerItemRouter), and moe.py.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from softmoe_ref import arguments, losses
from softmoe_ref.experts import Experts
from softmoe_ref.moe import MoE, Router
from softmoe_ref.routing import ROUNDINGS, Assignments, Decision, capacity, grouping, routing_dtype
from softmoe_ref.transport import Looped, OneHot, Padded, Sorted

BACKENDS: Final[Mapping[str, Callable[[Assignments], Decision[Any]]]] = {
    "einsum": OneHot.of,
    "indexed": Padded.of,
    "grouped": Sorted.of,
    "loop": Looped.of,
}


@final
class TokenChoiceRouter(Router):
    """Router of tokens choice.

    Attributes:
        weight: (D, E), drawn normal with standard deviation 1 / sqrt(D); no bias.
        noise_std: in training, noise_std / E times standard normal noise is added to the logits.
        jitter: in training, the tokens are multiplied by uniform numbers from 1 - jitter to 1 + jitter for the logits.
        loss_names: the keys of `softmoe_ref.losses.TABLE` that its decisions compute.
    """

    def __init__(  # noqa: PLR0913 - one keyword per axis of a case
        self,
        d_model: int,
        num_experts: int,
        *,
        top_k: int,
        capacity_factor: float | None,
        group_size: int | None,
        backend: str,
        batch_priority: bool,
        renormalize: bool,
        capacity_rounding: str,
        noise_std: float = 0.0,
        jitter: float = 0.0,
        loss_names: tuple[str, ...] = (),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        arguments.positive_integer("top_k", top_k)
        if top_k > num_experts:
            raise ValueError(f"top_k must be at most num_experts = {num_experts}, got {top_k}")
        if capacity_factor is not None:
            arguments.positive_number("capacity_factor", capacity_factor)
        if group_size is not None:
            arguments.positive_integer("group_size", group_size)
        arguments.one_of("backend", backend, BACKENDS)
        arguments.one_of("capacity_rounding", capacity_rounding, ROUNDINGS)
        arguments.number_from_zero("noise_std", noise_std)
        arguments.number_from_zero("jitter", jitter)
        if jitter >= 1:
            raise ValueError(f"jitter must be below 1, so that no token changes its sign, got {jitter!r}")
        if not isinstance(loss_names, tuple):
            raise TypeError(f"loss_names must be a tuple of names, got {loss_names!r}")
        for name in loss_names:
            arguments.one_of("loss_names", name, losses.TABLE)
            if name in losses.NOISE_ONLY and not noise_std:
                raise ValueError(f"noise_std must be above 0 for loss {name}, got {noise_std!r}")
        self.top_k = top_k
        self.capacity_factor = capacity_factor
        self.group_size = group_size
        self.backend = backend
        self.batch_priority = batch_priority
        self.renormalize = renormalize
        self.capacity_rounding = capacity_rounding
        self.noise_std = noise_std
        self.jitter = jitter
        self.loss_names = loss_names
        self.weight = nn.Parameter(torch.empty(d_model, num_experts, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw `weight` anew from torch's global generator."""
        nn.init.normal_(self.weight, std=self.weight.shape[0] ** -0.5)

    def forward(self, x: Tensor) -> Decision[Any]:
        """Return the decision for the tokens `x` (B, M, D); logits and softmax are at least float32."""
        dtype = routing_dtype(x.dtype)
        shape = (x.shape[0], x.shape[1])
        num_groups, size = grouping(shape, self.group_size)
        noise_std = self.noise_std / self.weight.shape[1] if self.training else 0.0
        gates_GNE, logits_GNE, noisy_GNE = self._gates(x.to(dtype).reshape(num_groups, size, -1), noise_std)
        expert_GNK = best_experts(gates_GNE.detach(), self.top_k)
        top_GNK = gates_GNE.gather(2, expert_GNK)
        place_GNK = line_up(expert_GNK, gates_GNE.shape[2], top_GNK[..., 0] if self.batch_priority else None)
        places = self._capacity(size)
        facts = Assignments(
            shape=shape,
            token=torch.arange(num_groups * size, device=x.device).view(num_groups, size, 1).expand_as(expert_GNK),
            expert=expert_GNK,
            place=place_GNK,
            gate=top_GNK / top_GNK.sum(2, keepdim=True) if self.renormalize else top_GNK,
            kept=torch.ones_like(place_GNK, dtype=torch.bool) if places is None else place_GNK < places,
            gates=gates_GNE,
            capacity=places,
            logits=logits_GNE,
            noisy_logits=noisy_GNE,
            noise_std=noise_std,
            loss_names=tuple(name for name in self.loss_names if noise_std or name not in losses.NOISE_ONLY),
        )
        return BACKENDS[self.backend](facts)

    def _gates(self, x_GND: Tensor, noise_std: float) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the gates (G, N, E), and for the losses, if any, the logits without and with noise."""
        if self.training and self.jitter:
            x_GND = x_GND * torch.empty_like(x_GND).uniform_(1 - self.jitter, 1 + self.jitter)
        logits_GNE = x_GND @ self.weight.to(x_GND.dtype)
        noisy_GNE = logits_GNE + noise_std * torch.randn_like(logits_GNE) if noise_std else None
        gates_GNE = (logits_GNE if noisy_GNE is None else noisy_GNE).softmax(2)
        return (gates_GNE, logits_GNE, noisy_GNE) if self.loss_names else (gates_GNE, None, None)

    def _capacity(self, group_size: int) -> int | None:
        if self.capacity_factor is None:
            return None
        places = capacity(group_size, self.weight.shape[1], self.capacity_factor, self.top_k, self.capacity_rounding)
        return min(places, group_size)  # a token comes to an expert once: further places stay empty


def best_experts(gates_GNE: Tensor, top_k: int) -> Tensor:
    """Return (G, N, K): the experts with the highest gates, best first, the lower number first among equals.

    One `max` per choice: `topk` promises no order among equals, and a stable sort of all gates takes ten times as long.
    """
    remaining_GNE = gates_GNE.clone() if top_k > 1 else gates_GNE
    choices = [remaining_GNE.argmax(2, keepdim=True)]
    for _ in range(top_k - 1):
        remaining_GNE.scatter_(2, choices[-1], -torch.inf)
        choices.append(remaining_GNE.argmax(2, keepdim=True))
    return torch.cat(choices, dim=2)


def line_up(expert_GNK: Tensor, num_experts: int, priority_GN: Tensor | None) -> Tensor:
    """Return (G, N, K): how many assignments of the group stand before this one at its expert's buffer.

    First choices stand before second ones; among them the tokens stand in order, or by descending `priority_GN`.
    """
    num_groups, size, top_k = expert_GNK.shape
    order_GNK = None
    if priority_GN is not None:
        order_GN = priority_GN.sort(dim=1, descending=True, stable=True).indices
        order_GNK = order_GN.unsqueeze(2).expand_as(expert_GNK)
        expert_GNK = expert_GNK.gather(1, order_GNK)
    queue = torch.arange(num_groups, device=expert_GNK.device).view(-1, 1, 1) * num_experts
    queue_A = (queue + expert_GNK.transpose(1, 2)).flatten()  # (G, K, N): one queue per group and expert
    sorted_A, order_A = queue_A.sort(stable=True)
    number_A = torch.arange(len(queue_A), device=queue_A.device)
    rank_A = torch.empty_like(number_A).scatter_(0, order_A, number_A)
    place_A = rank_A - torch.searchsorted(sorted_A, queue_A)
    place_GNK = place_A.view(num_groups, top_k, size).transpose(1, 2)
    return place_GNK if order_GNK is None else torch.empty_like(place_GNK).scatter_(1, order_GNK, place_GNK)


def token_choice(  # noqa: PLR0913 - one keyword per axis of a case
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    top_k: int = 1,
    capacity_factor: float | None = None,
    group_size: int | None = None,
    backend: str = "einsum",
    batch_priority: bool = False,
    renormalize: bool = False,
    capacity_rounding: str = "round",
    activation: str = "gelu",
    loss_names: tuple[str, ...] = (),
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a tokens choice layer; `switch`, `gshard`, `vmoe` and `mixtral` are this one as their papers have it.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert.
        num_experts: E.
        top_k: K, the experts that a token asks for.
        capacity_factor: multiplies the places of an even load; None for no limit, so that nothing is dropped.
        group_size: the tokens that share places, consecutive in the flattened batch; None for one sequence.
        backend: `einsum`, the papers' one-hot products, quadratic in the group; `indexed`, gathers into padded buffers;
            `grouped`, one sort and grouped matrix products; `loop`, one expert after the other.
        batch_priority: whether tokens with a high first gate take their places first.
        renormalize: whether the K chosen gates are divided by their sum, dropped ones included. With `top_k=1` that
            makes every gate 1 and leaves the router without a gradient.
        capacity_rounding: see `softmoe_ref.routing.capacity`.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
        loss_names: the auxiliary losses that decisions compute, keys of `softmoe_ref.losses.TABLE` except `load`, which
            needs training noise: see `softmoe_ref.vmoe`.
        device: where the weights are.
        dtype: of the weights.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = TokenChoiceRouter(
        d_model,
        num_experts,
        top_k=top_k,
        capacity_factor=capacity_factor,
        group_size=group_size,
        backend=backend,
        batch_priority=batch_priority,
        renormalize=renormalize,
        capacity_rounding=capacity_rounding,
        loss_names=loss_names,
        device=device,
        dtype=dtype,
    )
    return MoE("token_choice", router, experts)
