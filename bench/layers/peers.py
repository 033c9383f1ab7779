"""Layers of other packages, and what is known of each: the table that plan, list and report read.

To add one: its adapter in `softmoe_ref/peers`, one line here, one in the extra `peers` of pyproject.toml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import costs
from bench.layers.layer import Layer, Package
from bench.layers.limits import too_many_choices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.axes import AxisValue

ORACLE = "softmoe_ref.peers:truth"
SOFT = ("num_experts", "slots_per_expert")


def _top_2_impossible(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why a case of a layer with exactly two experts per token has no meaning, or None."""
    if int(axes["num_experts"] or 0) < 2:
        return "mixture-of-experts sends every token to two experts: num_experts must be at least 2"
    return _float32_only("mixture-of-experts", axes)


def _st_moe_impossible(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why a case of st-moe-pytorch has no meaning, or None."""
    if int(axes["top_k"] or 0) < 2:
        return f"st-moe-pytorch takes two experts per token or more, got top_k={axes['top_k']}"
    return too_many_choices(axes) or _float32_only("st-moe-pytorch", axes)


def _float32_only(package: str, axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why a case of a package whose masks are float32 cannot run in another number format, or None."""
    if axes["dtype"] == "float32":
        return None
    return f"{package} multiplies float32 masks with its tokens: it runs in float32 only"


ROWS = (
    Layer(
        "soft_moe_pytorch",
        "Soft MoE by lucidrains",
        "softmoe_ref.peers.soft:soft_moe_pytorch",
        SOFT,
        cost=costs.soft_moe_pytorch,
        oracle=ORACLE,
        package=Package(
            "soft-moe-pytorch",
            "0.1.9",
            "Its slots mix normalised tokens, so that a token's length is lost, and its logits are d_model times a "
            "cosine without a learnt scale; GELU is set to its tanh form here.",
            {"layer": "soft", "normalize": "tokens", "activation": "gelu"},
        ),
    ),
    Layer(
        "soft_mixture_of_experts",
        "Soft MoE by fkodom",
        "softmoe_ref.peers.soft:soft_mixture_of_experts",
        SOFT,
        cost=costs.soft_mixture_of_experts,
        oracle=ORACLE,
        package=Package(
            "soft-mixture-of-experts",
            "0.2.0",
            "It normalises neither tokens nor slots, and its expert is a single linear layer; here two of them with a "
            "tanh-GELU between, their weights drawn as ours, since the package's own are too small by the root of "
            "their output width.",
            {"layer": "soft", "normalize": "none", "activation": "gelu"},
        ),
    ),
    Layer(
        "soft_moe_bwconrad",
        "Soft MoE by bwconrad",
        "softmoe_ref.peers.soft:soft_moe_bwconrad",
        SOFT,
        cost=costs.soft_moe_bwconrad,
        oracle=ORACLE,
        package=Package(
            "soft-moe",
            "0.0.1",
            "Its slots mix normalised tokens, so that a token's length is lost; its experts are what it is given, here "
            "two linear layers with a tanh-GELU between.",
            {"layer": "soft", "normalize": "tokens", "activation": "gelu"},
        ),
    ),
    Layer(
        "mixtral_transformers",
        "Mixtral block by Hugging Face",
        "softmoe_ref.peers.sparse:mixtral_transformers",
        ("num_experts", "top_k"),
        ("eager", "grouped_mm"),
        costs.mixtral_transformers,
        ORACLE,
        too_many_choices,
        package=Package(
            "transformers",
            "5.23.0",
            "Nothing: dropless top-k with renormalised gates and SwiGLU experts; its weights are drawn as ours, since "
            "the block alone leaves them unset.",
            {"layer": "token_choice", "capacity_factor": None, "renormalize": True, "activation": "swiglu"},
        ),
    ),
    Layer(
        "mixture_of_experts",
        "Top-2 MoE by lucidrains",
        "softmoe_ref.peers.sparse:mixture_of_experts",
        ("num_experts",),
        impossible=_top_2_impossible,
        package=Package(
            "mixture-of-experts",
            "0.2.3",
            "It leaves out second experts at random, in evaluation too, and refuses tokens beyond a capacity that both "
            "choices share; its experts are ReLU networks without biases.",
        ),
    ),
    Layer(
        "st_moe_pytorch",
        "ST-MoE by lucidrains",
        "softmoe_ref.peers.sparse:st_moe_pytorch",
        ("num_experts", "top_k"),
        impossible=_st_moe_impossible,
        package=Package(
            "st-moe-pytorch",
            "0.1.8",
            "It leaves out further experts at random, in evaluation too, and refuses tokens beyond a capacity that all "
            "choices share; its experts are GEGLU networks with biases and a learnt factor.",
        ),
    ),
)
