"""Routing decisions: which tokens each expert works on, and with what weight the results come back.

A decision is frozen: it is made once by a router, and everything else (the rows that experts see, the output, what was
dropped, how full the experts are) is derived from it. `Weights` is the dense kind (every slot mixes every token);
`Assignments` holds the facts of the sparse kind, which `softmoe_ref.transport` turns into rows for the experts.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, final

import torch
from torch import Tensor

from softmoe_ref import arguments, losses

Rows = TypeVar("Rows")
UNIT_EPSILON: Final = 1e-6  # google-research/vmoe, projects/soft_moe/router.py: inside the square root
ROUNDINGS: Final = ("round", "ceil", "ceil4")


class Decision(Protocol[Rows]):
    """What every router returns; `Rows` is what the experts are handed (see `softmoe_ref.experts`)."""

    def dispatch(self, x: Tensor) -> Rows:
        """Return the rows for the experts, made from the tokens `x` (B, M, D)."""
        ...

    def combine(self, y: Rows) -> Tensor:
        """Return the tokens' outputs (B, M, D), made from the experts' output rows `y`."""
        ...

    def assigned(self) -> Tensor:
        """Return (T, E) bool: this expert works on this token."""
        ...

    def load(self) -> Tensor:
        """Return (E,) float64: the rows that each expert works on (tokens; slots for Soft MoE), padding not counted."""
        ...

    def importance(self) -> Tensor:
        """Return (E,): the sum over all tokens of each expert's router weight (combine weight for Soft MoE)."""
        ...

    def drop_rate(self) -> float:
        """Return the refused assignments as a share of all the assignments that were wanted."""
        ...

    def unrouted_rate(self) -> float:
        """Return the tokens that no expert works on as a share of all tokens."""
        ...

    def losses(self) -> dict[str, Tensor]:
        """Return the auxiliary losses of the decision by name, each a scalar, unweighted; empty for none."""
        ...


class NothingDropped(ABC):
    """What decisions share in which every token has an expert without any loss."""

    @abstractmethod
    def assigned(self) -> Tensor:
        """Return (T, E) bool: this expert works on this token."""

    def load(self) -> Tensor:
        """Return (E,) float64: the tokens that each expert works on."""
        return self.assigned().sum(0, dtype=torch.float64)

    def drop_rate(self) -> float:
        """Return 0.0: nothing is refused."""
        return 0.0

    def unrouted_rate(self) -> float:
        """Return 0.0: every token has an expert."""
        return 0.0

    def losses(self) -> dict[str, Tensor]:
        """Return no auxiliary loss."""
        return {}


@final
@dataclass(frozen=True)
class Weights(NothingDropped):
    """Dense decision: every slot is a weighted sum of tokens, every output a weighted sum of slots.

    Attributes:
        dispatch_weights: (B, M, E, P), the paper's D.
        combine_weights: (B, M, E, P), the paper's C.
        unit_tokens: whether the slots mix the L2-normalised tokens instead of the tokens themselves.
    """

    dispatch_weights: Tensor
    combine_weights: Tensor
    unit_tokens: bool = False

    def dispatch(self, x: Tensor) -> Tensor:
        """Return the slots (E, B * P, D), contiguous per expert."""
        mixed_BMD = unit(x, dim=-1) if self.unit_tokens else x
        slots_EBPD = torch.einsum("BMEP,BMD->EBPD", self.dispatch_weights.to(x.dtype), mixed_BMD)
        return slots_EBPD.flatten(1, 2)

    def combine(self, y: Tensor) -> Tensor:
        """Return (B, M, D) from the experts' outputs `y` (E, B * P, D)."""
        batch, _, _, slots_per_expert = self.combine_weights.shape
        y_EBPD = y.reshape(len(y), batch, slots_per_expert, y.shape[-1])
        return torch.einsum("BMEP,EBPD->BMD", self.combine_weights.to(y.dtype), y_EBPD)

    def assigned(self) -> Tensor:
        """Return (T, E) bool, all true: every expert works on a mixture of every token."""
        batch, length, experts, _ = self.dispatch_weights.shape
        return self.dispatch_weights.new_ones((batch * length, experts), dtype=torch.bool)

    def load(self) -> Tensor:
        """Return (E,) float64, all B * P: the slots that each expert works on."""
        batch, _, experts, slots_per_expert = self.dispatch_weights.shape
        return self.dispatch_weights.new_full((experts,), batch * slots_per_expert, dtype=torch.float64)

    def importance(self) -> Tensor:
        """Return (E,): the sum of the combine weights of each expert's slots."""
        return self.combine_weights.sum((0, 1, 3))


@final
@dataclass(frozen=True)
class Assignments:
    """The facts of a sparse decision: a list of (token, expert) pairs, in any common shape, here called A.

    Tokens choice lists them as (G, N, K), experts choice as (G, E, P).

    Attributes:
        shape: B and M.
        token: A, which of the T tokens.
        expert: A, which expert.
        place: A, the place in the expert's buffer of that token's group, in the order of service.
        gate: A, the weight of the expert's output in the token's output; differentiable.
        kept: A, false where the buffer was full and the assignment was dropped.
        gates: (G, N, E), the router's weights of all experts that everything above comes from, mostly a softmax.
        capacity: the buffer's places per expert and group; None if nobody asked for a limit (dropless).
        logits: (G, N, E), before any training noise; None where no loss needs them.
        noisy_logits: (G, N, E), what `gates` are the softmax of where there was noise; None elsewhere, or where no loss
            needs them.
        noise_std: the standard deviation of that noise.
        loss_names: the keys of `softmoe_ref.losses.TABLE` that `losses` computes.
    """

    shape: tuple[int, int]
    token: Tensor
    expert: Tensor
    place: Tensor
    gate: Tensor
    kept: Tensor
    gates: Tensor
    capacity: int | None
    logits: Tensor | None = None
    noisy_logits: Tensor | None = None
    noise_std: float = 0.0
    loss_names: tuple[str, ...] = ()

    @property
    def num_experts(self) -> int:
        """E."""
        return self.gates.shape[2]

    @property
    def num_groups(self) -> int:
        """G."""
        return self.gates.shape[0]

    @property
    def num_tokens(self) -> int:
        """T = B * M = G * N."""
        return self.gates.shape[0] * self.gates.shape[1]

    @property
    def may_drop(self) -> bool:
        """Whether a full buffer is possible: there is a capacity, and a group has more tokens than that."""
        return self.capacity is not None and self.capacity < self.gates.shape[1]

    @property
    def group(self) -> Tensor:
        """A: the group of each token."""
        return self.token // self.gates.shape[1]

    def assigned(self) -> Tensor:
        """Return (T, E) bool: this expert works on this token (a dropped assignment does not count)."""
        cells = self.num_tokens * self.num_experts
        cell_A = torch.where(self.kept, self.token * self.num_experts + self.expert, cells).flatten()
        marked = torch.zeros(cells + 1, dtype=torch.bool, device=cell_A.device).index_fill_(0, cell_A, value=True)
        return marked[:cells].view(self.num_tokens, self.num_experts)

    def load(self) -> Tensor:
        """Return (E,) float64: the tokens that each expert works on."""
        return self.assigned().sum(0, dtype=torch.float64)

    def importance(self) -> Tensor:
        """Return (E,): the sum over all tokens of the router's weights of all experts, before any choice."""
        return self.gates.sum((0, 1))

    def drop_rate(self) -> float:
        """Return refused assignments / all assignments; waits for the device."""
        return float((~self.kept).double().mean())

    def unrouted_rate(self) -> float:
        """Return tokens without any expert / all tokens; waits for the device."""
        return float((~self.assigned().any(1)).double().mean())

    def losses(self) -> dict[str, Tensor]:
        """Return the losses that the router asked for, see `softmoe_ref.losses`."""
        return {name: losses.TABLE[name](self) for name in self.loss_names}


def unit(x: Tensor, *, dim: int) -> Tensor:
    """Return `x` scaled to length 1 along `dim`, a zero vector staying zero: x / sqrt(sum x^2 + 1e-6)."""
    length = torch.linalg.vector_norm(x, dim=dim, keepdim=True)  # one pass, where the sum of the squares takes two
    return x * torch.rsqrt(length.square() + UNIT_EPSILON)


def routing_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the precision that logits and softmaxes are computed in: at least float32, as in the authors' code."""
    return torch.promote_types(dtype, torch.float32)


def grouping(shape: tuple[int, int], group_size: int | None) -> tuple[int, int]:
    """Return (G, N): how many groups the (B, M) tokens fall into, and the tokens of each.

    Raises:
        ValueError: if the groups do not come out even.
    """
    batch, length = shape
    size = length if group_size is None else group_size
    if batch * length % size:
        raise ValueError(f"group_size must divide the {batch} * {length} = {batch * length} tokens, got {size}")
    return batch * length // size, size


def capacity(tokens: int, num_experts: int, capacity_factor: float, top_k: int = 1, rounding: str = "round") -> int:
    """Return the most tokens that one expert takes from a group of `tokens`: tokens * top_k * capacity_factor / E.

    `round` is Python's (halves to even); `ceil` rounds up; `ceil4` then up to a multiple of 4, the default of V-MoE.
    Source: google-research/vmoe at 942a78b, moe.py, compute_capacity.

    Raises:
        ValueError: for an unknown rounding, or if no place would be left.
    """
    arguments.one_of("capacity_rounding", rounding, ROUNDINGS)
    exact = int(tokens) * top_k * capacity_factor / int(num_experts)  # tracing hands sizes over as tensors
    multiple = 4 if rounding == "ceil4" else 1
    places = round(exact) if rounding == "round" else multiple * math.ceil(math.ceil(exact) / multiple)
    if places < 1:
        raise ValueError(
            f"capacity_factor must leave at least one place per expert, got {capacity_factor}: "
            f"{tokens} tokens * {top_k} choices * {capacity_factor} / {num_experts} experts rounds to 0"
        )
    return places
