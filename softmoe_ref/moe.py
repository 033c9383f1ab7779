"""A Mixture-of-Experts layer: a router and a stack of experts; only the router differs between the families."""

from abc import ABC, abstractmethod
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from softmoe_ref import arguments
from softmoe_ref.experts import Experts, computing_dtype
from softmoe_ref.routing import Decision, routing_dtype


class Router(nn.Module, ABC):
    """From tokens to a decision; it carries the routing axes as attributes."""

    @abstractmethod
    def forward(self, x: Tensor) -> Decision[Any]:
        """Return the decision for the tokens `x` (B, M, D)."""


class LinearRouter(Router):
    """A router whose logits are one linear function of a token.

    Attributes:
        weight: (D, E), drawn normal with standard deviation 1 / sqrt(D) by `reset_parameters`, which a router calls
            once it has all its parameters.
    """

    def __init__(
        self, d_model: int, num_experts: int, *, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d_model, num_experts, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Draw `weight` anew from torch's global generator."""
        nn.init.normal_(self.weight, std=self.weight.shape[0] ** -0.5)

    def logits(self, x: Tensor) -> Tensor:
        """Return (..., E) for the tokens `x` (..., D), at least float32."""
        dtype = routing_dtype(x.dtype)
        return x.to(dtype) @ self.weight.to(dtype)


class Stack(Protocol):
    """What computes: takes the rows that a router dispatches and returns their outputs, arranged alike."""

    d_model: int

    def __call__(self, rows: Any, /) -> Any:  # noqa: ANN401 - each pair of router and experts has its own kind of rows
        """Return the outputs of the rows."""
        ...


@final
class MoE(nn.Module):
    """Route, dispatch, experts, combine.

    Attributes:
        name: the family, a key of `softmoe_ref.TABLE`.
        router: which expert works on what.
        experts: what is computed.
        shared: experts that every token passes through besides, their output added; None for none.
    """

    experts: Stack

    def __init__(self, name: str, router: Router, experts: Stack, shared: Experts | None = None) -> None:
        super().__init__()
        self.name = name
        self.router = router
        self.experts = experts
        self.shared = shared

    def route(self, x: Tensor) -> Decision[Any]:
        """Return the routing decision for the tokens `x` (B, M, D), without running any expert."""
        arguments.tokens(x, self.experts.d_model)
        kind = x.device.type
        if kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):  # logits are at least float32, whatever the experts compute in
                return self._decide(x)
        return self._decide(x)

    def _decide(self, x: Tensor) -> Decision[Any]:
        decision: Decision[Any] = self.router(x)
        return decision

    def apply_decision(self, decision: Decision[Any], x: Tensor) -> Tensor:
        """Return the output (B, M, D) for a decision that `route` made for the same tokens.

        So that a training step can route once: `decision = layer.route(x)`, then the output from here and the auxiliary
        losses from `decision.losses()`.
        """
        computed = x.to(computing_dtype(x))
        y = decision.combine(self.experts(decision.dispatch(computed)))
        if self.shared is not None:
            y = y + self.shared(computed.reshape(1, -1, x.shape[-1])).view_as(y)
        return y.to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output (B, M, D), in the dtype of `x`."""
        return self.apply_decision(self.route(x), x)

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """Return the auxiliary losses of routing the tokens `x` (B, M, D), by name, unweighted; empty for none.

        Where training adds noise to the router, this routes anew: take `route(x).losses()` for those of one decision.
        """
        return self.route(x).losses()
