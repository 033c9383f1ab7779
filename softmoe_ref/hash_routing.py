"""Hash routing: the expert of a token is a fixed function of the token; nothing is learnt, nothing is dropped.

    e_t = hash(x_t) mod E;    y_t = f_e(x_t)

After Hash Layers (Roller et al. 2021, arXiv:2106.04426), where a table maps each token of the vocabulary to its expert.
Our layer sees vectors and no vocabulary: it hashes the bits of the vector, rounded to float32, so that equal vectors
always go to the same expert, whatever the batch and their position in it. That is our stand-in for the table: where the
vectors are no embeddings but hidden states, which differ everywhere, it routes at random.

The hash sums the D bit patterns, each times a fixed odd number of 64 bits, and mixes the bits of the sum; the numbers
and the mixing are those of SplitMix64 (Steele, Lea and Flood 2014, OOPSLA). All of it is arithmetic of
integers modulo 2^64, the same on every device and in every order.
"""

from typing import Any, Final, final

import torch
from torch import Tensor

from softmoe_ref import arguments
from softmoe_ref.dropless import assign
from softmoe_ref.experts import Experts
from softmoe_ref.moe import MoE, Router
from softmoe_ref.routing import Decision
from softmoe_ref.token_choice import BACKENDS

GOLDEN_GAMMA: Final = 0x9E3779B97F4A7C15
MIXERS: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))  # shift right and xor, then multiply
BITS: Final = 64


@final
class HashRouter(Router):
    """Not a learned router: no parameters, and nothing in the state_dict.

    Attributes:
        multipliers: (D,) int64, an odd number for each coordinate of a token.
    """

    multipliers: Tensor

    def __init__(
        self, d_model: int, num_experts: int, *, backend: str, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        arguments.one_of("backend", backend, BACKENDS)
        self.num_experts = num_experts
        self.backend = backend
        numbers = [signed(mix(GOLDEN_GAMMA * (1 + place)) | 1) for place in range(d_model)]
        self.register_buffer("multipliers", torch.tensor(numbers, device=device), persistent=False)

    def forward(self, x: Tensor) -> Decision[Any]:
        """Return the decision for the tokens `x` (B, M, D), every gate 1."""
        expert_BM1 = self.hash(x.detach()).remainder(self.num_experts).unsqueeze(2)
        gate_BM1 = torch.ones_like(expert_BM1, dtype=torch.float32)
        gates_BME = gate_BM1.new_zeros(*x.shape[:2], self.num_experts).scatter_(2, expert_BM1, 1)
        return BACKENDS[self.backend](assign((x.shape[0], x.shape[1]), expert_BM1, gate_BM1, gates_BME))

    def hash(self, x: Tensor) -> Tensor:
        """Return (B, M) int64, not negative, the hash of each token."""
        words_BMD = (x.float() + 0.0).view(torch.int32)  # -0 equals 0 and has other bits; -0 + 0 is 0
        hash_BM = (words_BMD * self.multipliers).sum(2)
        for shift, multiplier in MIXERS:
            # int64 shifts copies of the sign in, SplitMix64 zeros
            shifted_BM = (hash_BM >> shift) & ((1 << (BITS - shift)) - 1)
            hash_BM = (hash_BM ^ shifted_BM) * signed(multiplier)
        return hash_BM & ((1 << (BITS - 1)) - 1)


def mix(number: int) -> int:
    """Return the mixed bits of `number`, 64 of them: the output function of SplitMix64."""
    number %= 1 << BITS
    for shift, multiplier in MIXERS:
        number = (number ^ number >> shift) * multiplier % (1 << BITS)
    return number


def signed(number: int) -> int:
    """Return the whole number that int64 stores as the 64 bits of `number`."""
    return number - (1 << BITS) if number >> (BITS - 1) else number


def hash_routing(
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    backend: str = "grouped",
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a layer with hash routing.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert.
        num_experts: E.
        backend: as for `softmoe_ref.token_choice`.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
        device: where the weights are.
        dtype: of the weights.
    """
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    return MoE("hash_routing", HashRouter(d_model, num_experts, backend=backend, device=device), experts)
