"""Vision Transformers whose last blocks hold a Mixture-of-Experts layer in place of the feed-forward network.

    x = patches of the image + position;    in each block  x += attention(norm(x)),  x += feed_forward(norm(x))
    logits = head(mean over tokens of norm(x))

Source: Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1, for the backbone; Puigcerver et al. 2023,
arXiv:2308.00951v2, section 3, for its form here: no class token, mean pooling, normalised queries and keys, learned
positions, and the MoE in the second half of the blocks. `VARIANTS` reproduces the parameters of its Table 8.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast, final

import torch
from torch import Tensor, nn

from softmoe_ref import arguments
from softmoe_ref.attention import NORM_EPSILON, Attention
from softmoe_ref.dense import dense
from softmoe_ref.moe import MoE
from softmoe_ref.routing import Decision


@final
@dataclass(frozen=True)
class Variant:
    """The sizes of a backbone.

    Attributes:
        patch: pixels of a patch's side.
        d_model: D.
        depth: number of blocks.
        d_ff: F, of the dense blocks and of each expert.
        num_heads: H.
        moe_blocks: how many blocks hold the MoE layer: the last ones.
        image_size: pixels of an image's side.
        num_classes: C.
    """

    patch: int
    d_model: int
    depth: int
    d_ff: int
    num_heads: int
    moe_blocks: int
    image_size: int = 224
    num_classes: int = 29_593  # of JFT-4B, on which the paper trains

    @property
    def num_tokens(self) -> int:
        """M."""
        return (self.image_size // self.patch) ** 2


VARIANTS: Final[Mapping[str, Variant]] = {
    # not the paper's: small enough for tests and for a CPU, of the width of ViT-Ti (Touvron et al., arXiv:2012.12877)
    "tiny": Variant(8, 192, 4, 768, 3, 2, image_size=64, num_classes=10),
    "S/16": Variant(16, 384, 12, 1536, 6, 6),
    "S/14": Variant(14, 384, 12, 1536, 6, 6),
    "B/16": Variant(16, 768, 12, 3072, 12, 6),
    "L/16": Variant(16, 1024, 24, 4096, 16, 12),
    "H/14": Variant(14, 1280, 32, 5120, 16, 16),
}


@final
class Block(nn.Module):
    """Attention, then a feed-forward layer, each on normalised tokens and added to them.

    Attributes:
        attention_norm: LayerNorm before the attention.
        attention: see `softmoe_ref.attention`.
        feed_forward_norm: LayerNorm before the feed-forward layer.
        feed_forward: an `MoE`, the dense one included.
    """

    def __init__(
        self,
        attention: Attention,
        feed_forward: MoE,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        d_model = attention.out.out_features
        self.attention_norm = nn.LayerNorm(d_model, eps=NORM_EPSILON, device=device, dtype=dtype)
        self.attention = attention
        self.feed_forward_norm = nn.LayerNorm(d_model, eps=NORM_EPSILON, device=device, dtype=dtype)
        self.feed_forward = feed_forward

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, M, D) for the tokens `x` (B, M, D)."""
        x = self.attend(x)
        y_BMD: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return y_BMD

    def attend(self, x: Tensor) -> Tensor:
        """Return the tokens (B, M, D) after the attention, before the feed-forward layer."""
        y_BMD: Tensor = x + self.attention(self.attention_norm(x))
        return y_BMD


@final
class ViT(nn.Module):
    """A Vision Transformer that maps images (B, 3, pixels, pixels) to logits (B, C).

    Attributes:
        sizes: its variant.
        patch_embedding: a convolution over patches, (D, 3, patch, patch) and (D,), uniform Xavier.
        position_embedding: (M, D), drawn normal with standard deviation 0.02.
        blocks: the dense blocks, then those with the MoE layer.
        norm: LayerNorm before the mean over tokens.
        head: (C, D) and (C,), uniform Xavier: with a head of zeros nothing below it would get a gradient.
    """

    def __init__(
        self,
        sizes: Variant,
        moe: Callable[..., MoE],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if sizes.image_size % sizes.patch:
            raise ValueError(f"image_size must be a multiple of the patch, {sizes.patch}, got {sizes.image_size}")
        self.sizes = sizes
        d_model, d_ff = sizes.d_model, sizes.d_ff
        self.patch_embedding = nn.Conv2d(3, d_model, sizes.patch, sizes.patch, device=device, dtype=dtype)
        self.position_embedding = nn.Parameter(torch.empty(sizes.num_tokens, d_model, device=device, dtype=dtype))
        dense_blocks = sizes.depth - sizes.moe_blocks
        self.blocks = nn.ModuleList(
            Block(
                Attention(d_model, sizes.num_heads, device=device, dtype=dtype),
                (dense if i < dense_blocks else moe)(d_model=d_model, d_ff=d_ff, device=device, dtype=dtype),
                device=device,
                dtype=dtype,
            )
            for i in range(sizes.depth)
        )
        self.norm = nn.LayerNorm(d_model, eps=NORM_EPSILON, device=device, dtype=dtype)
        self.head = nn.Linear(d_model, sizes.num_classes, device=device, dtype=dtype)
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1))
        nn.init.normal_(self.position_embedding, std=0.02)
        nn.init.xavier_uniform_(self.head.weight)
        for bias in (self.patch_embedding.bias, self.head.bias):
            if bias is not None:
                nn.init.zeros_(bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, C) of `images` (B, 3, image_size, image_size)."""
        x_BMD = self._embed(images)
        for block in self.blocks:
            x_BMD = block(x_BMD)
        logits_BC: Tensor = self.head(self.norm(x_BMD).mean(1))
        return logits_BC

    def route(self, images: Tensor) -> tuple[Decision[Any], ...]:
        """Return the decisions that the last blocks, those with the MoE layer, make for `images`, in their order."""
        x_BMD = self._embed(images)
        decisions: list[Decision[Any]] = []
        for block in cast("Iterable[Block]", self.blocks):
            x_BMD = block.attend(x_BMD)
            seen_BMD = block.feed_forward_norm(x_BMD)
            decisions.append(block.feed_forward.route(seen_BMD))
            x_BMD = x_BMD + block.feed_forward.apply_decision(decisions[-1], seen_BMD)
        return tuple(decisions[self.sizes.depth - self.sizes.moe_blocks :])

    def _embed(self, images: Tensor) -> Tensor:
        pixels = self.sizes.image_size
        if images.dim() != 4 or images.shape[1:] != (3, pixels, pixels) or len(images) == 0:
            raise ValueError(
                f"images must have shape (B, 3, {pixels}, {pixels}) with B >= 1, got {tuple(images.shape)}"
            )
        # (B, D, rows, columns) -> (B, M, D), laid out by token: every layer reads it so
        patches_BMD: Tensor = self.patch_embedding(images).flatten(2).transpose(1, 2).contiguous()
        return patches_BMD + self.position_embedding


def vit(
    *,
    variant: str,
    moe: Callable[..., MoE] = dense,
    image_size: int | None = None,
    num_classes: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ViT:
    """Return a Vision Transformer.

    Args:
        variant: a key of `VARIANTS`.
        moe: makes the layer of the last blocks, one each; called with `d_model`, `d_ff`, `device` and `dtype`, as a
            `functools.partial` of any factory in `softmoe_ref.TABLE` can be; `softmoe_ref.build` takes its name
            instead, and its axes beside it.
        image_size: pixels of an image's side; None for the variant's.
        num_classes: C; None for the variant's.
        device: where the weights are.
        dtype: of the weights.
    """
    arguments.one_of("variant", variant, VARIANTS)
    given = {"image_size": image_size, "num_classes": num_classes}
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        arguments.positive_integer(name, value)
    return ViT(replace(VARIANTS[variant], **changes), moe, device=device, dtype=dtype)
