"""The cost of a Vision Transformer whose last blocks hold a Mixture-of-Experts layer."""

from __future__ import annotations

from dataclasses import dataclass

from bench.costs.cost import DTYPE_BYTES, Axes, Cost, whole
from bench.costs.dense import dense


@dataclass(frozen=True, slots=True)
class Variant:
    """The sizes of a backbone, as `softmoe_ref.vit.Variant` names them; a test holds the two tables equal."""

    patch: int
    d_model: int
    depth: int
    d_ff: int
    num_heads: int
    moe_blocks: int
    image_size: int = 224
    num_classes: int = 29_593

    @property
    def num_tokens(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch) ** 2

    @property
    def axes(self) -> dict[str, int]:
        """The sizes of the layers in its blocks, by the names of their axes."""
        return {"seq_len": self.num_tokens, "d_model": self.d_model, "d_ff": self.d_ff}


VARIANTS = {
    "tiny": Variant(8, 192, 4, 768, 3, 2, image_size=64, num_classes=10),
    "S/16": Variant(16, 384, 12, 1536, 6, 6),
    "S/14": Variant(14, 384, 12, 1536, 6, 6),
    "B/16": Variant(16, 768, 12, 3072, 12, 6),
    "L/16": Variant(16, 1024, 24, 4096, 16, 12),
    "H/14": Variant(14, 1280, 32, 5120, 16, 16),
}


def vit(axes: Axes, moe: Cost) -> Cost:
    """A Vision Transformer of a named variant, see `of_sizes`."""
    return of_sizes(VARIANTS[str(axes["variant"])], axes, moe)


def of_sizes(sizes: Variant, axes: Axes, moe: Cost) -> Cost:
    """A Vision Transformer, from the cost `moe` of the layer in its last blocks on the same tokens.

    Parameters: patches 3p^2 D + D, positions MD, head DC + C, last norm 2D; each block two norms 4D, four projections
    4(D^2 + D), the norms of queries and keys 2D/H; and its feed-forward layer.

    FLOP: patches 2BM 3p^2 D, head 2BDC; each block projections 8BMD^2, attention 4BM^2 D; and its feed-forward layer.
    The images take no gradient, and attention kernels compute the logits, half of the 4BM^2 D, once more going back.

    Source: arXiv:2308.00951v2 Table 8, whose parameters come out exactly and whose GFLOPs within 1 %. min_bytes is
    None: what a model must move depends on what a device keeps between its layers.
    """
    shape = {**axes, **sizes.axes}
    mlp = dense(shape)
    batch, length, d_model = whole(axes, "batch_size"), sizes.num_tokens, sizes.d_model
    depth, replaced, pixels = sizes.depth, sizes.moe_blocks, 3 * sizes.patch**2
    size = DTYPE_BYTES[str(axes["dtype"])]

    around = (pixels + 1 + length + 2) * d_model + (d_model + 1) * sizes.num_classes
    block = 4 * d_model + 4 * (d_model + 1) * d_model + 2 * d_model // sizes.num_heads
    parameters = around + depth * block + (depth - replaced) * mlp.parameters + replaced * moe.parameters

    patches = 2 * batch * length * pixels * d_model
    attention = 2 * 2 * batch * length**2 * d_model
    head = 2 * batch * d_model * sizes.num_classes
    products = patches + head + depth * (4 * 2 * batch * length * d_model**2 + attention)

    def add(dense_flops: int | None, moe_flops: int | None) -> int | None:
        if dense_flops is None or moe_flops is None:
            return None
        return products + (depth - replaced) * dense_flops + replaced * moe_flops

    return Cost(
        parameters=parameters,
        parameter_bytes=parameters * size,
        useful_flops=add(mlp.useful_flops, moe.useful_flops),
        executed_flops=add(mlp.executed_flops, moe.executed_flops),
        one_sided_flops=replaced * moe.one_sided_flops,
        leaf_flops=patches,
        repeated_flops=depth * attention // 2 + replaced * moe.repeated_flops,
        output_bytes=batch * sizes.num_classes * size,
        min_bytes=None,
    )
