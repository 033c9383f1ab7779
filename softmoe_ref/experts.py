"""A stack of two-layer feed-forward experts: f_e(z) = gelu(z w1_e + b1_e) w2_e + b2_e.

With `activation="swiglu"` f_e(z) = (silu(z u_e) * (z v_e)) w2_e without biases, where w1_e = [u_e, v_e]. On a CPU,
`softmoe_ref.cpu_stacked` and `softmoe_ref.cpu_experts` compute the same, faster.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from softmoe_ref import arguments, cpu_experts, cpu_stacked
from softmoe_ref.activations import ACTIVATIONS
from softmoe_ref.cpu_experts import Stack


@dataclass(frozen=True)
class SortedRows:
    """Rows sorted by expert.

    Attributes:
        rows: (R, D); the rows after the last expert's belong to nobody, and their values mean nothing.
        ends: (E,) int32; the rows of expert e are those from ends[e - 1] to ends[e].
        full: whether no row is left over after the last expert's.
    """

    rows: Tensor
    ends: Tensor
    full: bool


@dataclass(frozen=True)
class MergedRows:
    """Rows of several sequences, each of which has an expert of its own: a weighted sum of all experts' weights.

    Attributes:
        rows: (B, M, D).
        mixture: (B, E), the weight of each expert in the sequence's own one.
    """

    rows: Tensor
    mixture: Tensor


Rows = Tensor | SortedRows | MergedRows | tuple[Tensor, ...]


class Experts(nn.Module):
    """E feed-forward networks with stacked weights, used as (in, out).

    Every expert is drawn independently: `w1` and `w2` uniform within +-sqrt(6 / (d_model + d_ff)) (Xavier, per expert,
    not over the stack), `b1` and `b2` normal with standard deviation 1e-6.

    Attributes:
        w1: (E, D, F), or (E, D, 2F) for SwiGLU: first the gate's columns, then the value's.
        b1: (E, F); None for SwiGLU.
        w2: (E, F, D).
        b2: (E, D); None for SwiGLU.
    """

    b1: nn.Parameter | None
    b2: nn.Parameter | None

    def __init__(
        self,
        num_experts: int,
        d_model: int,
        d_ff: int,
        *,
        activation: str = "gelu",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        arguments.positive_integer("num_experts", num_experts)
        arguments.positive_integer("d_model", d_model)
        arguments.positive_integer("d_ff", d_ff)
        arguments.one_of("activation", activation, ACTIVATIONS)
        self.num_experts = num_experts
        self.d_model = d_model
        self.d_ff = d_ff
        self.activation = activation
        gated = activation == "swiglu"

        def stack(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(num_experts, *shape, device=device, dtype=dtype))

        self.w1 = stack(d_model, 2 * d_ff if gated else d_ff)
        self.register_parameter("b1", None if gated else stack(d_ff))
        self.w2 = stack(d_ff, d_model)
        self.register_parameter("b2", None if gated else stack(d_model))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew from torch's global generator."""
        bound = (6 / (self.d_model + self.d_ff)) ** 0.5
        for weight in (self.w1, self.w2):
            nn.init.uniform_(weight, -bound, bound)
        for bias in (self.b1, self.b2):
            if bias is not None:
                nn.init.normal_(bias, std=1e-6)

    def forward(self, rows: Rows) -> Rows:
        """Return the experts' outputs, arranged as the `rows` came.

        Args:
            rows: (E, R, D) with R rows for each expert; or `SortedRows`; or `MergedRows`; or one tensor (R_e, D) per
                expert. Their dtype is the one computed in.
        """
        if isinstance(rows, MergedRows):
            return self._merged(rows)
        if isinstance(rows, tuple):
            return self._each(rows)
        stack = Stack(self.w1, self.b1, self.w2, self.b2)
        if isinstance(rows, SortedRows):
            if cpu_experts.usable(rows.rows, self.num_experts):
                y_RD = cpu_experts.run(rows.rows, stack, tuple(rows.ends.tolist()), self.activation)
                return SortedRows(y_RD, rows.ends, rows.full)
            return self._sorted(rows)
        if cpu_stacked.usable(rows, self.num_experts):
            return cpu_stacked.run(rows, stack, self.activation)
        return self._stacked(rows)

    def _weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        b1, b2 = (None if bias is None else bias.to(dtype) for bias in (self.b1, self.b2))
        return self.w1.to(dtype), b1, self.w2.to(dtype), b2

    def _stacked(self, x_ERD: Tensor) -> Tensor:
        return self._two_layers(x_ERD, *self._weights(x_ERD.dtype))

    def _merged(self, x: MergedRows) -> MergedRows:
        def merge(stack: Tensor) -> Tensor:
            return (x.mixture @ stack.flatten(1)).view(-1, *stack.shape[1:])  # one product over the whole stack

        w1, b1, w2, b2 = self._weights(x.rows.dtype)
        b1, b2 = (None if bias is None else merge(bias) for bias in (b1, b2))
        return MergedRows(self._two_layers(x.rows, merge(w1), b1, merge(w2), b2), x.mixture)

    def _two_layers(self, x_ERD: Tensor, w1: Tensor, b1: Tensor | None, w2: Tensor, b2: Tensor | None) -> Tensor:
        act = ACTIVATIONS[self.activation]
        if len(x_ERD) == 1:  # a product of matrices is up to 1.5 times as fast as one of stacks of one
            (x_RD,), (w1,), (w2,) = x_ERD.unbind(0), w1.unbind(0), w2.unbind(0)
            b1, b2 = (None if bias is None else bias.squeeze(0) for bias in (b1, b2))
            return _linear(act(_linear(x_RD, w1, b1)), w2, b2).unsqueeze(0)
        if b1 is None or b2 is None:
            return torch.bmm(act(torch.bmm(x_ERD, w1)), w2)
        return torch.baddbmm(b2.unsqueeze(1), act(torch.baddbmm(b1.unsqueeze(1), x_ERD, w1)), w2)

    def _sorted(self, x: SortedRows) -> SortedRows:
        w1, b1, w2, b2 = self._weights(x.rows.dtype)
        hidden_RF = ACTIVATIONS[self.activation](grouped_linear(x, w1, b1))
        y_RD = grouped_linear(SortedRows(hidden_RF, x.ends, x.full), w2, b2)
        return SortedRows(y_RD, x.ends, x.full)

    def _each(self, x: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # unbind, never w[e]: the gradient of an index is a whole stack of zeros, E stacks in all
        weights = self._weights(x[0].dtype)
        unbound = [(None,) * self.num_experts if stack is None else stack.unbind(0) for stack in weights]
        act = ACTIVATIONS[self.activation]
        return tuple(
            _linear(act(_linear(x_RD, w1, b1)), w2, b2) for x_RD, w1, b1, w2, b2 in zip(x, *unbound, strict=True)
        )


def _linear(x_RD: Tensor, weight_DF: Tensor, bias_F: Tensor | None) -> Tensor:
    return x_RD @ weight_DF if bias_F is None else torch.addmm(bias_F, x_RD, weight_DF)


def grouped_linear(x: SortedRows, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return (R, F): each row times its own expert's `weight` (E, D, F), plus that expert's `bias` (E, F) if any.

    One `torch.nn.functional.grouped_mm`, whose documentation promises a GPU kernel for bfloat16 only. It knows neither
    float64 nor rows whose length is no multiple of 16 bytes; those go through a loop over the experts' slices, which
    waits for the device to learn where they end.
    """
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if traced or not has_grouped_kernel(weight):  # a trace that is to be counted shows the rows only as slices
        return _linear_by_slices(x, weight, bias)
    y_RF = functional.grouped_mm(x.rows, weight, offs=x.ends)
    if bias is not None:
        rows = torch.arange(len(x.rows), device=x.ends.device, dtype=x.ends.dtype)
        expert_R = torch.searchsorted(x.ends, rows, right=True)
        # rows that belong to nobody hold anything, NaN included, and so do their gradients: they get their own bias
        bias_of_all = bias if x.full else functional.pad(bias, (0, 0, 0, 1))
        y_RF = y_RF.add_(bias_of_all.index_select(0, expert_R))
    if y_RF.requires_grad:  # the kernel's backward pass refuses the expanded gradient that a plain y.sum() sends
        y_RF.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]
    return y_RF


def has_grouped_kernel(weight: Tensor) -> bool:
    """Return whether `torch.nn.functional.grouped_mm` takes this stack of weights (E, D, F) and its transpose."""
    lengths = [width * weight.element_size() for width in weight.shape[1:]]
    return weight.dtype != torch.float64 and all(length % 16 == 0 for length in lengths)


def _linear_by_slices(x: SortedRows, weight: Tensor, bias: Tensor | None) -> Tensor:
    ends = [0, *x.ends.tolist()]
    counts = [end - start for start, end in pairwise(ends)]
    left_over = len(x.rows) - ends[-1]
    *slices, _ = torch.split(x.rows, [*counts, left_over])
    biases = (None,) * len(weight) if bias is None else bias.unbind(0)
    products = [_linear(rows, w, b) for rows, w, b in zip(slices, weight.unbind(0), biases, strict=True)]
    return torch.cat([*products, x.rows.new_zeros(left_over, weight.shape[2])])


def computing_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype that experts and mixtures are computed in: that of `x`, except on a CPU without such units.

    Such a CPU emulates bfloat16 and float16 products, tens of times slower than float32; the layer then converts its
    weights for each call instead.
    """
    if x.device.type == "cpu" and x.dtype in _CPU_UNITS and not _cpu_computes(x.dtype):
        return torch.float32
    return x.dtype


_CPU_UNITS: Final = {
    torch.bfloat16: ("avx512_bf16", "amx_bf16", "bf16"),
    torch.float16: ("avx512_fp16", "amx_fp16", "fp16"),
}


@cache
def _cpu_computes(dtype: torch.dtype) -> bool:
    report = getattr(
        torch.cpu, "get_capabilities", None
    )  # not in torch 2.10; without it the CPU gets what was asked for
    if report is None:
        return True
    capabilities = report()
    return any(capabilities.get(name) for name in _CPU_UNITS[dtype])
