"""What training a model of the Soft MoE paper costs, by the paper's convention and by the standard one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from bench.costs.cost import whole
from bench.costs.dense import dense
from bench.costs.soft import soft
from bench.costs.sparse import expert_choice, token_choice
from bench.costs.vit import VARIANTS, Variant, of_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.costs.cost import Cost

Routing = Literal["dense", "soft", "token_choice", "expert_choice"]
Convention = Literal["paper", "standard"]

TAKES = {
    "dense": (),
    "soft": ("num_experts", "group_size"),
    "token_choice": ("num_experts", "group_size", "top_k", "capacity_factor"),
    "expert_choice": ("num_experts", "group_size", "capacity_factor"),
}
"""Routing -> what it is told, all of it needed but the group_size of soft."""

FLOP_PER_PRODUCT = {"paper": 1, "standard": 2}
"""Convention -> FLOP of one multiply-add."""


def training_exaflop(  # noqa: PLR0913  (the columns of the paper's table)
    *,
    model: str,
    routing: Routing,
    num_experts: int | None = None,
    group_size: int | None = None,
    top_k: int | None = None,
    capacity_factor: float | None = None,
    steps: int,
    batch_size: int,
    convention: Convention = "paper",
) -> float:
    """Returns the exaFLOP (1e18) of training a Vision Transformer for some steps, batch_size images each.

    Every product costs its forward three times, but the one-hot dispatch of a sparse layer twice, because its mask
    takes no gradient; dispatch and combine of sparse layers are one-hot products, as in the paper. `paper` counts one
    FLOP for a multiply-add, which is what the training columns of the paper's tables fit; its evaluation GFLOPs and
    `standard` count two, so that the paper's training figures are half of what its evaluation figures would make.

    Args:
        model: backbone and patch, such as "S/16": S, B, L or H, and a patch that divides 224.
        routing: dense, soft (one slot per expert), token_choice or expert_choice, in the last blocks.
        num_experts: experts of each layer; not for dense.
        group_size: tokens that are routed together: of sparse layers any number that divides a batch, of soft the
            tokens of one image, which may be left out.
        top_k: experts of a token; for token_choice alone.
        capacity_factor: of token_choice and expert_choice.
        steps: training steps.
        batch_size: images of a step.
        convention: paper or standard.

    Raises:
        ValueError: an argument is missing, not one of this routing, or out of range.

    Source: arXiv:2308.00951v2, Tables 1, 8 and 9 (training cost); vmoe's EinsumDispatcher.
    """
    told = {"num_experts": num_experts, "group_size": group_size, "top_k": top_k, "capacity_factor": capacity_factor}
    given = {name: value for name, value in told.items() if value is not None}
    sizes = backbone(model)
    if convention not in FLOP_PER_PRODUCT:
        raise ValueError(f"convention must be one of {', '.join(FLOP_PER_PRODUCT)}, got {convention!r}")
    counts = {"steps": steps, "batch_size": batch_size}
    total = whole(counts, "steps") * whole(counts, "batch_size")
    _check(routing, given, sizes, batch_size)
    together = given.get("group_size", sizes.num_tokens)
    images = math.lcm(int(together), sizes.num_tokens) // sizes.num_tokens
    cost = _forward(sizes, routing, images, given)
    products = (3 * (cost.executed_flops or 0) - cost.one_sided_flops) // 2
    return products * FLOP_PER_PRODUCT[convention] * total / images / 1e18


def backbone(model: str) -> Variant:
    """Returns the sizes of a model by its name, such as "B/32": those of its letter with another patch.

    Raises:
        ValueError: there is no such letter, or the patch does not divide the image.
    """
    letters = {name[0]: sizes for name, sizes in VARIANTS.items() if "/" in name}
    letter, _, patch = model.partition("/")
    if letter not in letters or not patch.isdecimal():
        raise ValueError(f"model must be one of {', '.join(letters)}, a slash and a patch, as S/16; got {model!r}")
    sizes = letters[letter]
    if int(patch) < 1 or sizes.image_size % int(patch):
        raise ValueError(f"the patch of model {model} must divide the image's {sizes.image_size} pixels")
    return replace(sizes, patch=int(patch))


def _check(routing: str, given: Mapping[str, float], sizes: Variant, batch_size: int) -> None:
    """Refuses what a routing does not take, lacks or cannot do."""
    if routing not in TAKES:
        raise ValueError(f"routing must be one of {', '.join(TAKES)}, got {routing!r}")
    for name in given:
        if name not in TAKES[routing]:
            raise ValueError(f"{name} means nothing for {routing} routing: leave it out")
    for name in TAKES[routing]:
        if name not in given and (routing, name) != ("soft", "group_size"):
            raise ValueError(f"{routing} routing needs {name}")
    if "group_size" not in given:
        return
    group, tokens = whole(given, "group_size"), sizes.num_tokens
    if routing == "soft" and group != tokens:
        raise ValueError(f"soft routes the {tokens} tokens of one image together, got group_size {group}")
    if batch_size * tokens % group:
        raise ValueError(f"group_size {group} does not divide a batch of {batch_size} images, {tokens} tokens each")


def _forward(sizes: Variant, routing: Routing, images: int, given: Mapping[str, float]) -> Cost:
    """Returns the cost of a forward pass of some images."""
    axes: dict[str, object] = {**sizes.axes, "batch_size": images, "dtype": "float32", "backend": "einsum", **given}
    layer = {"dense": dense, "token_choice": token_choice, "expert_choice": expert_choice, "soft": soft}[routing]
    if routing == "soft":
        axes["slots_per_expert"] = 1
    return of_sizes(sizes, axes, layer(axes))
