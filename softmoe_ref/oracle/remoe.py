"""Oracle of ReMoE."""

from torch import Tensor

from softmoe_ref.oracle import loops
from softmoe_ref.oracle.loops import Parameters, Truth


def remoe(parameters: Parameters, x: Tensor) -> Truth:
    """Return ReMoE, arXiv:2412.14711: every expert with a positive logit works on the token."""
    weight, bias = parameters["router.weight"], parameters["router.bias"]
    served: list[list[tuple[int, Tensor]]] = [[] for _ in range(len(bias))]
    for t, token in enumerate(token for sequence in x for token in sequence):
        logits = token @ weight + bias
        for e, value in enumerate(logits.tolist()):
            if value > 0:
                served[e].append((t, logits[e]))
    return loops.outputs(parameters, x, served)
