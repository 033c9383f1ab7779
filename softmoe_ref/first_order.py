"""For gradients written by hand: that they have no gradient of their own is said, and no wrong number returned."""

import torch


def refuse_second_derivative() -> None:
    """Raise RuntimeError in a backward pass whose results are to be differentiated in their turn.

    torch's own `once_differentiable` does not help: its error stands beside the way from a gradient to the inputs,
    where `torch.autograd.grad` does not pass.
    """
    if torch.is_grad_enabled():
        raise RuntimeError("this layer has no second derivative: call it without create_graph=True")
