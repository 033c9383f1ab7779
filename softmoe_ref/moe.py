"""A Mixture-of-Experts layer: a router and a stack of experts; only the router differs between the families."""

from typing import Any, final

from torch import Tensor, nn

from softmoe_ref import arguments
from softmoe_ref.experts import Experts, computing_dtype
from softmoe_ref.routing import Decision


@final
class MoE(nn.Module):
    """Route, dispatch, experts, combine.

    Attributes:
        name: the family, a key of `softmoe_ref.TABLE`.
        router: an nn.Module from tokens (B, M, D) to a `Decision`; it carries the routing axes as attributes.
        experts: what is computed.
    """

    def __init__(self, name: str, router: nn.Module, experts: Experts) -> None:
        super().__init__()
        self.name = name
        self.router = router
        self.experts = experts

    def route(self, x: Tensor) -> Decision[Any]:
        """Return the routing decision for the tokens `x` (B, M, D), without running any expert."""
        arguments.tokens(x, self.experts.d_model)
        decision: Decision[Any] = self.router(x)
        return decision

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output (B, M, D), in the dtype of `x`."""
        decision = self.route(x)
        rows = decision.dispatch(x.to(computing_dtype(x)))
        return decision.combine(self.experts(rows)).to(x.dtype)
