"""Oracle of SMEAR."""

import torch
from torch import Tensor

from softmoe_ref.oracle import loops
from softmoe_ref.oracle.loops import Parameters, Truth


def smear(parameters: Parameters, x: Tensor) -> Truth:
    """Return SMEAR, one sequence after the other, each parameter summed expert by expert."""
    columns = parameters["router.weight"].unbind(1)
    vectors = [_normalized(column) * parameters["router.weight_scale"] for column in columns]
    y = []
    for sequence in x:
        mean = sum(sequence.unbind(0), start=torch.zeros_like(sequence[0])) / len(sequence)
        seen = _normalized(mean) * parameters["router.mean_scale"] + parameters["router.mean_shift"]
        shares = loops.softmax(torch.stack([seen.dot(vector) for vector in vectors]))
        merged = {
            name.replace("experts", "merged"): sum(
                (share * weight for share, weight in zip(shares, stack.unbind(0), strict=True)),
                start=torch.zeros_like(stack[:1]),
            )
            for name, stack in parameters.items()
            if name.startswith("experts.")
        }
        y.append(loops.run_experts(merged, [sequence.unbind(0)], stack="merged")[0])
    everyone = torch.ones(x.shape[0] * x.shape[1], len(columns), dtype=torch.bool, device=x.device)
    return Truth(torch.stack(y), everyone)


def _normalized(vector: Tensor) -> Tensor:
    centred = vector - vector.sum() / len(vector)
    return centred / (centred.dot(centred) / len(vector) + 1e-5).sqrt()
