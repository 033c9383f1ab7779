"""Oracle of PEER."""

import heapq
import math

import torch
from torch import Tensor

from softmoe_ref.oracle import loops
from softmoe_ref.oracle.loops import Parameters, Truth


def peer(parameters: Parameters, x: Tensor, *, num_heads: int, top_k: int) -> Truth:
    """Return PEER: every score from its whole key, the best of all of them, then one neuron after the other."""
    query, keys = parameters["router.query"], parameters["router.keys"]
    downs, ups = parameters["experts.down"].unbind(0), parameters["experts.up"].unbind(0)
    whole_keys = torch.stack([torch.cat([first, second]) for first in keys[0] for second in keys[1]])
    matrices = query.chunk(num_heads, 1)
    y = []
    assigned = torch.zeros(x.shape[0] * x.shape[1], len(downs), dtype=torch.bool)
    for t, token in enumerate(token for sequence in x for token in sequence):
        output = torch.zeros_like(token)
        for matrix in matrices:
            scores = whole_keys @ (token @ matrix)
            values = scores.detach().tolist()
            best = heapq.nlargest(top_k, range(len(values)), key=values.__getitem__)
            gates = loops.softmax(torch.stack([scores[e] for e in best]))
            for gate, e in zip(gates, best, strict=True):
                z = token.dot(downs[e])
                hidden = 0.5 * z * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
                output = output + gate * hidden * ups[e]
                assigned[t, e] = True
        y.append(output)
    return Truth(torch.stack(y).reshape(x.shape), assigned.to(x.device))
