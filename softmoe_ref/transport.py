"""Ways to carry the tokens of a sparse decision to the experts and back: one function, computed differently."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, Self, final

import torch
from torch import Tensor
from torch.nn import functional

from softmoe_ref.experts import SortedRows
from softmoe_ref.routing import Assignments, Rows, Weights


@dataclass(frozen=True)
class Transport(ABC, Generic[Rows]):
    """A sparse decision with its way to carry tokens.

    Attributes:
        assignments: the facts, which do not depend on the way.
    """

    assignments: Assignments

    @abstractmethod
    def dispatch(self, x: Tensor) -> Rows:
        """Return the rows for the experts, made from the tokens `x` (B, M, D)."""

    @abstractmethod
    def combine(self, y: Rows) -> Tensor:
        """Return the tokens' outputs (B, M, D); exactly 0 for a token without an expert."""

    def assigned(self) -> Tensor:
        """Return (T, E) bool: this expert works on this token."""
        return self.assignments.assigned()

    def load(self) -> Tensor:
        """Return (E,) float64: the tokens that each expert works on."""
        return self.assignments.load()

    def importance(self) -> Tensor:
        """Return (E,): the sum of the softmax over all tokens."""
        return self.assignments.importance()

    def drop_rate(self) -> float:
        """Return refused assignments / all assignments."""
        return self.assignments.drop_rate()

    def unrouted_rate(self) -> float:
        """Return tokens without any expert / all tokens."""
        return self.assignments.unrouted_rate()

    def losses(self) -> dict[str, Tensor]:
        """Return the auxiliary losses that the router asked for."""
        return self.assignments.losses()


@final
@dataclass(frozen=True)
class OneHot(Transport[Tensor]):
    """The einsum of the papers: one-hot weights over (G, N, E, P), dense products on both sides.

    Its cost is quadratic in the group's tokens. Without a capacity the buffer has as many places as the fullest expert
    of any group needs, which waits for the device.

    Attributes:
        weights: `dispatch_weights` and `combine_weights` (G, N, E, P), a group in place of a sequence.
    """

    weights: Weights

    @classmethod
    def of(cls, facts: Assignments) -> Self:
        """Return the one-hot form of `facts`."""
        places = facts.capacity or int(facts.place.max()) + 1
        cells = facts.num_tokens * facts.num_experts * places
        cell_A = (facts.token * facts.num_experts + facts.expert) * places + facts.place
        cell_A = torch.where(facts.kept, cell_A, cells).flatten()
        empty = facts.gate.new_zeros(cells + 1)
        shape = (facts.num_groups, -1, facts.num_experts, places)
        return cls(
            facts,
            Weights(
                dispatch_weights=empty.index_fill(0, cell_A, 1)[:cells].view(shape),
                combine_weights=empty.scatter(0, cell_A, facts.gate.flatten())[:cells].view(shape),
            ),
        )

    def dispatch(self, x: Tensor) -> Tensor:
        """Return the buffers (E, G * P, D), 0 where a place is empty."""
        return self.weights.dispatch(x.reshape(self.assignments.num_groups, -1, x.shape[-1]))

    def combine(self, y: Tensor) -> Tensor:
        """Return (B, M, D) from the experts' buffers `y` (E, G * P, D)."""
        return self.weights.combine(y).reshape(*self.assignments.shape, y.shape[-1])


@final
@dataclass(frozen=True)
class Padded(Transport[Tensor]):
    """Tokens gathered into one padded buffer per expert, results gathered back: tokens choice only.

    Without a capacity one buffer serves all groups, as long as the fullest expert needs; that waits for the device.

    Attributes:
        row: (T, K), the row of each assignment in the flattened buffers; one past the last for a dropped one.
        token: (R,), the token in each row of the flattened buffers; T in an empty one.
    """

    row: Tensor
    token: Tensor

    @classmethod
    def of(cls, facts: Assignments) -> Self:
        """Return the padded form of `facts`, which lists K assignments of every token."""
        if facts.capacity is None:
            row_A, ends_E = sorted_rows(facts)
            load_E = ends_E.diff(prepend=ends_E.new_zeros(1))
            places = int(load_E.max())
            place_A = row_A - (ends_E - load_E)[facts.expert]
        else:
            places = facts.num_groups * facts.capacity
            place_A = facts.group * facts.capacity + facts.place
        rows = facts.num_experts * places
        row_TK = torch.where(facts.kept, facts.expert * places + place_A, rows).flatten(0, 1)
        return cls(facts, row_TK, token_of_rows(facts, row_TK, rows))

    def dispatch(self, x: Tensor) -> Tensor:
        """Return the buffers (E, R, D), 0 where a place is empty."""
        x_TD = x.reshape(-1, x.shape[-1])
        rows_RD = functional.pad(x_TD, (0, 0, 0, 1)).index_select(0, self.token)
        return rows_RD.view(self.assignments.num_experts, -1, x.shape[-1])

    def combine(self, y: Tensor) -> Tensor:
        """Return (B, M, D) from the experts' buffers `y` (E, R, D)."""
        return weighted_rows(self.assignments, self.row, y.flatten(0, 1))


@final
@dataclass(frozen=True)
class Sorted(Transport[SortedRows]):
    """Tokens gathered once, sorted by expert, without padding: tokens choice only.

    Never waits for the device, as long as `softmoe_ref.experts.grouped_linear` does not.

    Attributes:
        row: (T, K), the row of each assignment; one past the last for a dropped one.
        token: (R,), the token in each row; T in a row that is left over because assignments were dropped.
        ends: (E,) int32, where each expert's rows end.
    """

    row: Tensor
    token: Tensor
    ends: Tensor

    @classmethod
    def of(cls, facts: Assignments) -> Self:
        """Return the sorted form of `facts`, which lists K assignments of every token."""
        row_A, ends_E = sorted_rows(facts)
        rows = facts.token.numel()
        if facts.capacity is not None:
            rows = min(rows, facts.num_experts * facts.num_groups * facts.capacity)
        row_TK = torch.where(facts.kept, row_A, rows).flatten(0, 1)
        return cls(facts, row_TK, token_of_rows(facts, row_TK, rows), ends_E.int())

    def dispatch(self, x: Tensor) -> SortedRows:
        """Return the tokens in the order of their experts."""
        x_TD = x.reshape(-1, x.shape[-1])
        full = not self.assignments.may_drop
        source = x_TD if full else functional.pad(x_TD, (0, 0, 0, 1))
        return SortedRows(source.index_select(0, self.token), self.ends, full)

    def combine(self, y: SortedRows) -> Tensor:
        """Return (B, M, D) from the experts' outputs."""
        return weighted_rows(self.assignments, self.row, y.rows)


@final
@dataclass(frozen=True)
class Looped(Transport[tuple[Tensor, ...]]):
    """The loop of the tutorials: for each expert find its tokens, run it, add the result. Waits for the device.

    Attributes:
        picks: for each expert, its rows' tokens, and its assignments in the flattened list.
    """

    picks: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def of(cls, facts: Assignments) -> Self:
        """Return the loop form of `facts`."""
        token_A, expert_A, kept_A = facts.token.flatten(), facts.expert.flatten(), facts.kept.flatten()
        picks = []
        for expert in range(facts.num_experts):
            (chosen,) = torch.where((expert_A == expert) & kept_A)
            picks.append((token_A[chosen], chosen))
        return cls(facts, tuple(picks))

    def dispatch(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return one tensor (R_e, D) per expert."""
        x_TD = x.reshape(-1, x.shape[-1])
        return tuple(x_TD.index_select(0, token) for token, _ in self.picks)

    def combine(self, y: tuple[Tensor, ...]) -> Tensor:
        """Return (B, M, D) from one tensor (R_e, D) per expert."""
        gate_A1 = self.assignments.gate.reshape(-1, 1).to(y[0].dtype)
        sum_TD = y[0].new_zeros(self.assignments.num_tokens, y[0].shape[1])
        for (token, chosen), y_RD in zip(self.picks, y, strict=True):
            sum_TD.index_add_(0, token, y_RD * gate_A1.index_select(0, chosen))
        return sum_TD.view(*self.assignments.shape, -1)


@final
@dataclass(frozen=True)
class Scattered(Transport[Tensor]):
    """Tokens gathered into full buffers, results added to their tokens: experts choice only.

    Attributes:
        token: (R,), the token in each row of the flattened buffers.
        gate: (R,), its weight.
    """

    token: Tensor
    gate: Tensor

    @classmethod
    def of(cls, facts: Assignments) -> Self:
        """Return the scattered form of `facts`, listed as (G, E, P) without a gap."""
        return cls(facts, facts.token.transpose(0, 1).flatten(), facts.gate.transpose(0, 1).flatten())

    def dispatch(self, x: Tensor) -> Tensor:
        """Return the buffers (E, G * P, D)."""
        rows_RD = x.reshape(-1, x.shape[-1]).index_select(0, self.token)
        return rows_RD.view(self.assignments.num_experts, -1, x.shape[-1])

    def combine(self, y: Tensor) -> Tensor:
        """Return (B, M, D) from the experts' buffers `y` (E, G * P, D)."""
        weighted_RD = y.flatten(0, 1) * self.gate.to(y.dtype).unsqueeze(1)
        sum_TD = y.new_zeros(self.assignments.num_tokens, y.shape[-1])
        return sum_TD.index_add(0, self.token, weighted_RD).view(*self.assignments.shape, -1)


def sorted_rows(facts: Assignments) -> tuple[Tensor, Tensor]:
    """Return the row of each kept assignment if they are sorted by expert and group, and (E,) where the experts end."""
    line_A = facts.expert * facts.num_groups + facts.group
    load_EG = torch.zeros(facts.num_experts * facts.num_groups, dtype=torch.int64, device=line_A.device)
    load_EG.scatter_add_(0, line_A.flatten(), facts.kept.flatten().long())
    end_EG = load_EG.cumsum(0)
    return (end_EG - load_EG)[line_A] + facts.place, end_EG[facts.num_groups - 1 :: facts.num_groups]


def token_of_rows(facts: Assignments, row_TK: Tensor, rows: int) -> Tensor:
    """Return (R,): the token in each of `rows` rows, T where there is none; assignments at row R are ignored."""
    token_R = torch.full((rows + 1,), facts.num_tokens, device=row_TK.device)
    return token_R.scatter_(0, row_TK.flatten(), facts.token.flatten())[:rows]


def weighted_rows(facts: Assignments, row_TK: Tensor, y_RD: Tensor) -> Tensor:
    """Return (B, M, D): for each token the sum of its kept rows of `y_RD`, times their gates."""
    gate_TK1 = facts.gate.flatten(0, 1).unsqueeze(2).to(y_RD.dtype)
    if facts.may_drop:
        picked_TKD = y_RD.index_select(0, row_TK.flatten().clamp(max=len(y_RD) - 1))
        picked_TKD = picked_TKD.view(*row_TK.shape, -1)
        picked_TKD = picked_TKD.masked_fill(~facts.kept.flatten(0, 1).unsqueeze(2), 0)
    else:
        picked_TKD = y_RD.index_select(0, row_TK.flatten()).view(*row_TK.shape, -1)
    return (picked_TKD * gate_TK1).sum(1).view(*facts.shape, -1)
