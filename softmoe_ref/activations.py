"""What an expert's hidden layer applies: GELU in its tanh form, or SwiGLU.

GELU as flax's MlpBlock has it in google-research/vision_transformer; SwiGLU as in Shazeer 2020, arXiv:2002.05202.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional


def gelu(x: Tensor) -> Tensor:
    """Return the tanh form of GELU."""
    return functional.gelu(x, approximate="tanh")


def swiglu(x: Tensor) -> Tensor:
    """Return silu of the first half of the last axis times the second half."""
    gate, value = x.chunk(2, dim=-1)
    return functional.silu(gate) * value


ACTIVATIONS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {"gelu": gelu, "swiglu": swiglu}


def gelu_into(x: Tensor, out: Tensor) -> None:
    """Write the tanh form of GELU to `out`, at half the time that torch's own kernel takes on a CPU.

    (1 + tanh(u)) / 2 = sigmoid(2 u), and sigmoid has the faster kernel.
    """
    torch.mul(x, x, out=out)
    torch.add(_LINEAR, out, alpha=2 * _SLOPE * _CUBIC, out=out).mul_(x).sigmoid_().mul_(x)


def swiglu_into(x: Tensor, out: Tensor) -> None:
    """Write silu of the first half of the last axis times the second half to `out`."""
    gate, value = x.chunk(2, dim=-1)
    torch.mul(functional.silu(gate), value, out=out)


def gelu_backward(grad: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of GELU at `x`."""
    found: Tensor = torch.ops.aten.gelu_backward(grad, x, approximate="tanh")
    return found


def swiglu_backward(grad: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of SwiGLU at `x`, both halves."""
    gate, value = x.chunk(2, dim=-1)
    found = torch.empty_like(x)
    grad_gate, grad_value = found.chunk(2, dim=-1)
    grad_gate.copy_(torch.ops.aten.silu_backward(grad * value, gate))
    torch.mul(grad, functional.silu(gate), out=grad_value)
    return found


_SLOPE: Final = math.sqrt(2 / math.pi)
_CUBIC: Final = 0.044715
_LINEAR: Final = torch.tensor(2 * _SLOPE, dtype=torch.float64)  # a scalar tensor does not widen its partner's dtype
INTO: Final[Mapping[str, Callable[[Tensor, Tensor], None]]] = {"gelu": gelu_into, "swiglu": swiglu_into}
BACKWARD: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "gelu": gelu_backward,
    "swiglu": swiglu_backward,
}
