"""A pool of experts of a single hidden neuron each, f_e(z) = gelu(z . down_e) up_e, looked up by their number.

A token that retrieved A neurons has in them a feed-forward network of hidden width A, put together for it alone. The
ways to compute that differ in what they hold: `indexed` copies two vectors for each token and neuron, `bag` copies
none, `einsum` computes all neurons on all tokens.

Source: He 2024, arXiv:2407.04153, equation 6 and algorithm 1 (which is `indexed`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from softmoe_ref import arguments
from softmoe_ref.activations import gelu

MODE_SUM: Final = 0  # torch's number for embedding_bag(mode="sum"), which its own operators take


@dataclass(frozen=True)
class Retrieved:
    """Tokens, and for each of them the A neurons that it retrieved, any of them more than once.

    Attributes:
        rows: (T, D), the tokens, or the outputs.
        neuron: (T, A).
        gate: (T, A), what each neuron's output is multiplied by before all are added up.
    """

    rows: Tensor
    neuron: Tensor
    gate: Tensor


@final
class Neurons(nn.Module):
    """E experts of one hidden neuron each, without biases.

    Each is drawn as a column of a feed-forward network with d_ff hidden neurons would be: uniform within
    +-sqrt(6 / (d_model + d_ff)).

    Attributes:
        down: (E, D), the paper's u.
        up: (E, D), the paper's v.
    """

    def __init__(
        self,
        num_experts: int,
        d_model: int,
        d_ff: int,
        *,
        backend: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        arguments.positive_integer("num_experts", num_experts)
        arguments.positive_integer("d_model", d_model)
        arguments.positive_integer("d_ff", d_ff)
        arguments.one_of("backend", backend, BACKENDS)
        self.num_experts = num_experts
        self.d_model = d_model
        self.d_ff = d_ff
        self.backend = backend
        self.down = nn.Parameter(torch.empty(num_experts, d_model, device=device, dtype=dtype))
        self.up = nn.Parameter(torch.empty(num_experts, d_model, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew from torch's global generator."""
        bound = (6 / (self.d_model + self.d_ff)) ** 0.5
        for weight in (self.down, self.up):
            nn.init.uniform_(weight, -bound, bound)

    def forward(self, retrieved: Retrieved) -> Retrieved:
        """Return the sum over each token's neurons of gate times output; computed in the dtype of the rows."""
        dtype = retrieved.rows.dtype
        return replace(retrieved, rows=BACKENDS[self.backend](retrieved, self.down.to(dtype), self.up.to(dtype)))


def _indexed(retrieved: Retrieved, down_ED: Tensor, up_ED: Tensor) -> Tensor:
    down_TAD = functional.embedding(retrieved.neuron, down_ED)
    hidden_TA = torch.bmm(down_TAD, retrieved.rows.unsqueeze(2)).squeeze(2)
    weight_TA = gelu(hidden_TA) * retrieved.gate.to(hidden_TA.dtype)
    return torch.bmm(weight_TA.unsqueeze(1), functional.embedding(retrieved.neuron, up_ED)).squeeze(1)


def _bag(retrieved: Retrieved, down_ED: Tensor, up_ED: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        hidden_TA: Tensor = _Dot.apply(retrieved.rows, down_ED, retrieved.neuron)  # type: ignore[no-untyped-call]
    else:
        hidden_TA = _dot(retrieved.rows, down_ED, retrieved.neuron)
    return _weighted_sum(up_ED, retrieved.neuron, gelu(hidden_TA) * retrieved.gate.to(hidden_TA.dtype))


def _einsum(retrieved: Retrieved, down_ED: Tensor, up_ED: Tensor) -> Tensor:
    hidden_TE = retrieved.rows @ down_ED.mT
    weight_TA = gelu(hidden_TE.gather(1, retrieved.neuron)) * retrieved.gate.to(hidden_TE.dtype)
    return torch.zeros_like(hidden_TE).scatter_add(1, retrieved.neuron, weight_TA) @ up_ED


BACKENDS: Final[Mapping[str, Callable[[Retrieved, Tensor, Tensor], Tensor]]] = {
    "einsum": _einsum,
    "indexed": _indexed,
    "bag": _bag,
}


def _weighted_sum(vectors_ED: Tensor, neuron_TA: Tensor, weight_TA: Tensor) -> Tensor:
    return functional.embedding_bag(neuron_TA, vectors_ED, mode="sum", per_sample_weights=weight_TA)


def _dot(x_TD: Tensor, vectors_ED: Tensor, neuron_TA: Tensor) -> Tensor:
    """Return (T, A): <x_t, vector of each of the token's neurons>.

    torch has this product as the gradient of `_weighted_sum` with respect to its weights, and nowhere else: the public
    functions copy the vectors first, which takes many times as long.
    """
    tokens, picks = neuron_TA.shape
    dots_A: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(  # noqa: SLF001
        x_TD, vectors_ED, neuron_TA.flatten(), _starts(neuron_TA), _token(neuron_TA), MODE_SUM
    )
    return dots_A.view(tokens, picks)


def _starts(neuron_TA: Tensor) -> Tensor:
    return torch.arange(0, neuron_TA.numel(), neuron_TA.shape[1], device=neuron_TA.device)


def _token(neuron_TA: Tensor) -> Tensor:
    return torch.arange(len(neuron_TA), device=neuron_TA.device).repeat_interleave(neuron_TA.shape[1])


class _Dot(Function):
    """`_dot` with its gradients, which are sums over a token's neurons and over a neuron's tokens."""

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, vectors_ED: Tensor, neuron_TA: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x_TD, vectors_ED, neuron_TA)
        return _dot(x_TD, vectors_ED, neuron_TA)

    @staticmethod
    def backward(ctx: Any, grad_TA: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: ANN401
        x_TD, vectors_ED, neuron_TA = ctx.saved_tensors
        grad_x_TD = grad_vectors_ED = None
        if ctx.needs_input_grad[0]:
            grad_x_TD = _weighted_sum(vectors_ED, neuron_TA, grad_TA)
        if ctx.needs_input_grad[1]:
            nothing = neuron_TA.new_empty(0)  # two arguments that the sum does not look at
            grad_vectors_ED = torch.ops.aten._embedding_bag_dense_backward(  # noqa: SLF001
                x_TD,
                neuron_TA.flatten(),
                _token(neuron_TA),
                nothing,
                nothing,
                len(vectors_ED),
                False,  # noqa: FBT003 - how often a neuron occurs does not scale its gradient
                MODE_SUM,
                grad_TA.flatten(),
            )
        return grad_x_TD, grad_vectors_ED, None
