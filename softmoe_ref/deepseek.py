"""DeepSeekMoE: experts that every token shares, beside many small ones of which each token chooses K.

    y_t = shared(x_t) + sum over the chosen e of g_te f_e(x_t)

    s_t = sigmoid(x_t W);   chosen = the K highest of s_t + b;   g_te = route_scale * s_te / sum of s_t over the chosen

The bias b decides who is chosen and takes no part in the weights; it is no parameter, `DeepSeekRouter.update_bias`
moves it against the load, in place of an auxiliary loss. With groups of experts a token first keeps the `top_groups`
groups with the highest sum of their two best s + b, and chooses among their experts only. `score="softmax"` is the gate
before the bias: a softmax, groups ranked by their best expert, weights not divided by their sum. Nothing is dropped.

Source: Dai et al. 2024, arXiv:2401.06066 (shared and fine-grained experts); DeepSeek-AI 2024, arXiv:2412.19437 (the
sigmoid gate); Wang et al. 2024, arXiv:2408.15664 (the bias); the details follow deepseek-ai/DeepSeek-V3 at 9b4e978,
inference/model.py (Gate). The shared experts are one feed-forward network of their hidden widths together.
"""

from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from softmoe_ref import arguments
from softmoe_ref.dropless import assign
from softmoe_ref.experts import Experts
from softmoe_ref.moe import LinearRouter, MoE
from softmoe_ref.routing import Decision
from softmoe_ref.token_choice import BACKENDS, best_experts

SCORES: Final = ("sigmoid", "softmax")


@final
class DeepSeekRouter(LinearRouter):
    """Router of DeepSeekMoE.

    Attributes:
        weight: (D, E).
        bias: (E,), a buffer, added to the scores for the choice only; 0 at first; None with softmax scores.
    """

    bias: Tensor | None

    def __init__(  # noqa: PLR0913 - one keyword per axis of a case
        self,
        d_model: int,
        num_experts: int,
        *,
        top_k: int,
        expert_groups: int,
        top_groups: int,
        score: str,
        route_scale: float,
        backend: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(d_model, num_experts, device=device, dtype=dtype)
        arguments.positive_integer("top_k", top_k)
        arguments.positive_integer("expert_groups", expert_groups)
        arguments.positive_integer("top_groups", top_groups)
        arguments.positive_number("route_scale", route_scale)
        arguments.one_of("score", score, SCORES)
        arguments.one_of("backend", backend, BACKENDS)
        if num_experts % expert_groups:
            raise ValueError(f"expert_groups must divide num_experts = {num_experts}, got {expert_groups}")
        arguments.at_most("top_groups", top_groups, "expert_groups", expert_groups)
        choice = top_groups * num_experts // expert_groups
        if top_k > choice:
            raise ValueError(f"top_k must be at most the {choice} experts of top_groups = {top_groups}, got {top_k}")
        self.top_k = top_k
        self.expert_groups = expert_groups
        self.top_groups = top_groups
        self.score = score
        self.route_scale = route_scale
        self.backend = backend
        biased = score == "sigmoid"
        self.register_buffer("bias", torch.zeros(num_experts, device=device, dtype=dtype) if biased else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw `weight` anew from torch's global generator; set `bias` to 0."""
        super().reset_parameters()
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Decision[Any]:
        """Return the decision for the tokens `x` (B, M, D); logits and scores are at least float32.

        What other routers call gates are the scores here, before the division by their sum and the scale.
        """
        logits_BME = self.logits(x)
        scores_BME = logits_BME.sigmoid() if self.score == "sigmoid" else logits_BME.softmax(2)
        expert_BMK = self.choose(scores_BME.detach())
        if self.score == "sigmoid":  # s / sum of s by logarithms: sigmoids of logits below -100 are all 0 in float32
            gate_BMK = functional.logsigmoid(logits_BME.gather(2, expert_BMK)).softmax(2)
        else:
            gate_BMK = scores_BME.gather(2, expert_BMK)
        return BACKENDS[self.backend](
            assign((x.shape[0], x.shape[1]), expert_BMK, gate_BMK * self.route_scale, scores_BME)
        )

    def choose(self, scores_BME: Tensor) -> Tensor:
        """Return (B, M, K): the chosen experts, best first, the lower number first among equals."""
        ranked_BME = scores_BME if self.bias is None else scores_BME + self.bias.to(scores_BME.dtype)
        if self.top_groups < self.expert_groups:
            by_group = ranked_BME.view(*ranked_BME.shape[:2], self.expert_groups, -1)
            best = 1 if self.bias is None else min(2, by_group.shape[3])
            kept_groups = best_experts(by_group.topk(best, dim=3).values.sum(3), self.top_groups)
            refused = torch.ones(by_group.shape[:3], dtype=torch.bool, device=scores_BME.device)
            refused.scatter_(2, kept_groups, 0)
            ranked_BME = by_group.masked_fill(refused.unsqueeze(3), -torch.inf).flatten(2)
        return best_experts(ranked_BME, self.top_k)

    @torch.no_grad()
    def update_bias(self, load: Tensor, *, rate: float) -> None:
        """Raise the bias of the experts with less than the mean load by `rate`, lower that of those with more.

        Args:
            load: (E,), the tokens of each expert in the batches since the last update, as `Decision.load` counts them.
            rate: the step u of arXiv:2408.15664.

        Raises:
            ValueError: if the router has no bias, the load is not one number for each expert or the rate not above 0.
        """
        arguments.positive_number("rate", rate)
        if self.bias is None:
            raise ValueError(f"score must be sigmoid for a router with a bias, got {self.score!r}")
        if load.shape != self.bias.shape:
            raise ValueError(f"load must have shape {tuple(self.bias.shape)}, got {tuple(load.shape)}")
        self.bias += rate * (load.mean(dtype=torch.float64) - load).sign().to(self.bias)


def deepseek(  # noqa: PLR0913 - one keyword per axis of a case
    *,
    d_model: int,
    d_ff: int,
    num_experts: int,
    top_k: int = 2,
    num_shared_experts: int = 1,
    expert_groups: int = 1,
    top_groups: int = 1,
    score: str = "sigmoid",
    route_scale: float = 1.0,
    backend: str = "grouped",
    activation: str = "gelu",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> MoE:
    """Return a DeepSeekMoE layer.

    Args:
        d_model: D.
        d_ff: F, the hidden width of each expert; fine-grained experts have a fraction of a dense layer's.
        num_experts: E, the routed experts.
        top_k: K, the routed experts that work on each token.
        num_shared_experts: experts of the same width that work on every token; 0 for none.
        expert_groups: groups of consecutive routed experts.
        top_groups: the groups that a token may choose from.
        score: `sigmoid`, or `softmax` without bias and without division by the sum.
        route_scale: multiplies the weights of the routed experts.
        backend: as for `softmoe_ref.token_choice`.
        activation: a key of `softmoe_ref.activations.ACTIVATIONS`.
        device: where the weights are.
        dtype: of the weights.
    """
    arguments.whole_number("num_shared_experts", num_shared_experts)
    experts = Experts(num_experts, d_model, d_ff, activation=activation, device=device, dtype=dtype)
    router = DeepSeekRouter(
        d_model,
        num_experts,
        top_k=top_k,
        expert_groups=expert_groups,
        top_groups=top_groups,
        score=score,
        route_scale=route_scale,
        backend=backend,
        device=device,
        dtype=dtype,
    )
    shared = None
    if num_shared_experts:
        shared = Experts(1, d_model, num_shared_experts * d_ff, activation=activation, device=device, dtype=dtype)
    return MoE("deepseek", router, experts, shared)
