"""Oracle of hash routing, on Python's whole numbers."""

import struct

from torch import Tensor

from softmoe_ref.oracle import loops
from softmoe_ref.oracle.loops import Parameters, Truth

ALL = 2**64 - 1


def hash_routing(parameters: Parameters, x: Tensor, *, num_experts: int) -> Truth:
    """Return hash routing: the expert that SplitMix64 makes of a token's bits."""
    served: list[list[tuple[int, Tensor]]] = [[] for _ in range(num_experts)]
    tokens = [token for sequence in x for token in sequence]
    multipliers = [splitmix(0x9E3779B97F4A7C15 * (d + 1) & ALL) | 1 for d in range(x.shape[2])]
    for t, token in enumerate(tokens):
        words = [struct.unpack("<i", struct.pack("<f", value + 0.0))[0] for value in token.tolist()]
        number = splitmix(sum(word * multiplier for word, multiplier in zip(words, multipliers, strict=True)) & ALL)
        served[(number & ALL >> 1) % num_experts].append((t, x.new_ones(())))
    return loops.outputs(parameters, x, served)


def splitmix(z: int) -> int:
    """Return the output of SplitMix64 for the state `z`."""
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & ALL
    z = (z ^ z >> 27) * 0x94D049BB133111EB & ALL
    return z ^ z >> 31
