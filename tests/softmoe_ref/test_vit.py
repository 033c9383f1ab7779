"""Vision Transformers: the authors' models number by number, and the parameters of their Table 8."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import AXES
from torch import Tensor

import softmoe_ref
from softmoe_ref import ViT, expert_choice, soft, vit
from softmoe_ref.attention import Attention
from softmoe_ref.vit import VARIANTS, Variant

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
GOLDEN_SIZES = Variant(4, 48, 4, 96, 3, 2, image_size=16, num_classes=10)
TINY = {"variant": "tiny", "num_classes": 5}


def norm(name: str, flax: str) -> dict[str, str]:
    return {f"{name}.weight": f"{flax}/scale", f"{name}.bias": f"{flax}/bias"}


def golden(stem: str) -> tuple[dict[str, object], dict[str, Tensor]]:
    with np.load(GOLDEN / f"vit_tiny_{stem}.npz") as stored:
        meta = json.loads(str(stored["meta_json"]))
        return meta, {name: torch.from_numpy(stored[name]) for name in stored.files if name != "meta_json"}


def our_state(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of a golden model under our names: heads side by side, three projections stacked."""
    found = {
        "position_embedding": arrays["param/Encoder/posembed_input/pos_embedding"][0],
        "patch_embedding.weight": arrays["param/embedding/kernel"].permute(3, 2, 0, 1),  # (rows, columns, 3, D)
        "patch_embedding.bias": arrays["param/embedding/bias"],
        "head.weight": arrays["param/head/kernel"].T,
        "head.bias": arrays["param/head/bias"],
    } | {ours: arrays[theirs] for ours, theirs in norm("norm", "param/Encoder/encoder_norm").items()}
    for i in range(GOLDEN_SIZES.depth):
        ours, theirs = f"blocks.{i}", f"param/Encoder/encoderblock_{i}"
        attention = f"{theirs}/SelfAttention"
        projections = [arrays[f"{attention}/{name}/kernel"].flatten(1).T for name in ("query", "key", "value")]
        found |= {
            f"{ours}.attention.qkv.weight": torch.cat(projections),
            f"{ours}.attention.qkv.bias": torch.cat(
                [arrays[f"{attention}/{name}/bias"].flatten() for name in ("query", "key", "value")]
            ),
            f"{ours}.attention.query_norm.weight": arrays[f"{attention}/query_ln/scale"],
            f"{ours}.attention.key_norm.weight": arrays[f"{attention}/key_ln/scale"],
            f"{ours}.attention.out.weight": arrays[f"{attention}/out/kernel"].flatten(0, 1).T,
            f"{ours}.attention.out.bias": arrays[f"{attention}/out/bias"],
        }
        names = norm(f"{ours}.attention_norm", f"{theirs}/LayerNorm_0")
        names |= norm(f"{ours}.feed_forward_norm", f"{theirs}/LayerNorm_1")
        found |= {name: arrays[flax] for name, flax in names.items()}
        moe = f"{theirs}/Moe/Mlp/Dense_0/kernel" in arrays
        layers = f"{theirs}/Moe/Mlp" if moe else f"{theirs}/Mlp"
        for weight, flax in (("w1", "Dense_0/kernel"), ("b1", "Dense_0/bias"), ("w2", "Dense_1/kernel")):
            array = arrays[f"{layers}/{flax}"]
            found[f"{ours}.feed_forward.experts.{weight}"] = array if moe else array.unsqueeze(0)
        bias = arrays[f"{layers}/Dense_1/bias"]
        found[f"{ours}.feed_forward.experts.b2"] = bias if moe else bias.unsqueeze(0)
        routers = {"phi": "mu", "scale": "scale", "weight": "dense/kernel"}
        for ours_r, theirs_r in routers.items():
            if f"{theirs}/Moe/Router/{theirs_r}" in arrays:
                found[f"{ours}.feed_forward.router.{ours_r}"] = arrays[f"{theirs}/Moe/Router/{theirs_r}"]
    return found


@pytest.mark.parametrize(
    ("stem", "moe"),
    [
        ("dense", softmoe_ref.TABLE["dense"]),
        ("soft_fp32", partial(soft.soft, num_experts=4, slots_per_expert=2, backend="einsum")),
        ("soft_fp32", partial(soft.soft, num_experts=4, slots_per_expert=2, backend="fused")),
        ("ec_fp32", partial(expert_choice.expert_choice, num_experts=4, backend="einsum")),
        ("ec_fp32", partial(expert_choice.expert_choice, num_experts=4, backend="indexed")),
    ],
    ids=["dense", "soft einsum", "soft fused", "expert_choice einsum", "expert_choice indexed"],
)
def test_the_authors_models_come_out(stem: str, moe: partial[softmoe_ref.MoE]) -> None:
    meta, arrays = golden(stem)
    model = ViT(GOLDEN_SIZES, moe)
    model.load_state_dict(our_state(arrays))
    if stem != "dense":
        assert meta["moe"]["layers"] == [2, 3]
    with torch.no_grad():
        logits = model(arrays["image"].permute(0, 3, 1, 2))
    torch.testing.assert_close(logits, arrays["logits"], rtol=0, atol=1e-5)


# arXiv:2308.00951v2 Table 8; the exact numbers are those of the official code
@pytest.mark.parametrize(
    ("variant", "num_experts", "parameters"),
    [
        ("S/16", None, 33_059_737),
        ("S/16", 128, 933_709_471),
        ("S/14", 256, 1_841_402_527),
        ("B/16", None, 108_555_673),
        ("B/16", 128, 3_707_638_687),
        ("L/16", None, 333_635_481),
        ("L/16", 128, 13_127_249_829),
        ("H/14", None, 668_675_993),
        ("H/14", 128, 27_318_132_649),
        ("H/14", 256, 54_177_406_889),
    ],
)
def test_the_papers_parameters_come_out(variant: str, num_experts: int | None, parameters: int) -> None:
    axes = {} if num_experts is None else {"moe": "soft", "num_experts": num_experts, "slots_per_expert": 1}
    model = softmoe_ref.build("vit", variant=variant, device="meta", **axes)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert {p.device.type for p in model.parameters()} == {"meta"}


@pytest.mark.parametrize("moe", softmoe_ref.TABLE)
def test_every_layer_fits_into_a_model_and_every_parameter_learns(moe: str) -> None:
    torch.manual_seed(0)
    model = softmoe_ref.build("vit", **TINY, moe=moe, **AXES[moe])
    assert isinstance(model, ViT)
    logits = model(torch.randn(2, 3, 64, 64))
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert gradients.keys() == {name for name, _ in model.named_parameters()}
    assert [name for name, gradient in gradients.items() if not gradient.isfinite().all() or not gradient.any()] == []


@pytest.mark.parametrize("moe", softmoe_ref.TABLE)
def test_the_moe_is_in_the_last_half_of_the_blocks(moe: str) -> None:
    model = softmoe_ref.build("vit", **TINY, moe=moe, **AXES[moe])
    assert [block.feed_forward.name for block in model.blocks] == ["dense", "dense", moe, moe]


def test_a_model_tells_the_decisions_of_its_moe_blocks() -> None:
    model = softmoe_ref.build("vit", **TINY, moe="expert_choice", num_experts=4, capacity_factor=1.0)
    images = torch.randn(2, 3, 64, 64)
    seen: list[Tensor] = []
    for block in model.blocks[2:]:
        block.feed_forward.register_forward_hook(lambda _layer, given, _y: seen.append(given[0]))
    with torch.no_grad():
        decisions = model.route(images)
        assert seen == []
        model(images)
        expected = [block.feed_forward.route(x) for block, x in zip(model.blocks[2:], seen, strict=True)]
    assert len(decisions) == 2
    for decision, of_block in zip(decisions, expected, strict=True):
        assert torch.equal(decision.assigned(), of_block.assigned())
        assert decision.load().tolist() == [32.0] * 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_number_format_goes_through_the_whole_model(dtype: torch.dtype) -> None:
    model = softmoe_ref.build("vit", **TINY, moe="soft", **AXES["soft"], dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {dtype}
    logits = model(torch.randn(1, 3, 64, 64, dtype=dtype))
    assert logits.dtype == dtype
    assert logits.isfinite().all()


def test_images_do_not_see_each_other_where_groups_are_sequences() -> None:
    model = softmoe_ref.build("vit", **TINY, moe="token_choice", **AXES["token_choice"], capacity_factor=1.0)
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(images)[1:2], model(images[1:2]), rtol=0, atol=1e-5)


def test_another_image_size_and_other_classes_change_positions_and_head_only() -> None:
    usual = softmoe_ref.build("vit", variant="tiny").state_dict()
    other = softmoe_ref.build("vit", variant="tiny", image_size=32, num_classes=7).state_dict()
    assert {name for name in usual if usual[name].shape != other[name].shape} == {
        "position_embedding",
        "head.weight",
        "head.bias",
    }
    assert other["position_embedding"].shape == (16, 192)


def test_attention_written_out() -> None:
    torch.manual_seed(0)
    layer = Attention(12, 3, dtype=torch.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter))
    x = torch.randn(2, 5, 12, dtype=torch.float64)

    def unit(vector: Tensor, scale: Tensor) -> Tensor:
        centred = vector - vector.mean()
        return centred / (centred.square().mean() + 1e-6).sqrt() * scale

    q, k, v = (x @ w.T + b for w, b in zip(layer.qkv.weight.chunk(3), layer.qkv.bias.chunk(3), strict=True))
    expected = torch.zeros_like(x)
    for b in range(2):
        for h in range(3):
            of_head = slice(4 * h, 4 * h + 4)
            for m in range(5):
                query = unit(q[b, m, of_head], layer.query_norm.weight)
                logits = torch.stack([query @ unit(key, layer.key_norm.weight) for key in k[b, :, of_head]])
                expected[b, m, of_head] = (logits / math.sqrt(4)).softmax(0) @ v[b, :, of_head]
    expected = expected @ layer.out.weight.T + layer.out.bias
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("error", "axes", "message"),
    [
        (ValueError, {"variant": "S/15"}, "variant must be one of tiny, S/16, S/14, B/16, L/16, H/14, got 'S/15'"),
        (ValueError, {"variant": "tiny", "moe": "sotf"}, "moe must be one of dense, soft, "),
        (ValueError, {"variant": "tiny", "image_size": 60}, "image_size must be a multiple of the patch, 8, got 60"),
        (ValueError, {"variant": "tiny", "num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
        (
            TypeError,
            {"variant": "tiny", "moe": "soft"},
            "layer 'vit with moe=soft' needs num_experts, slots_per_expert",
        ),
        (TypeError, {"variant": "tiny", "num_experts": 8}, "layer 'vit with moe=dense' takes no num_experts"),
        (TypeError, {"variant": "tiny", "d_model": 8}, "layer 'vit with moe=dense' takes no d_model; allowed: variant"),
        (TypeError, {"moe": "dense"}, "layer 'vit with moe=dense' needs variant; got: moe"),
    ],
)
def test_what_a_model_cannot_be_is_refused_by_name(
    error: type[Exception], axes: dict[str, object], message: str
) -> None:
    with pytest.raises(error, match=message):
        softmoe_ref.build("vit", **axes)


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 3, 64, 32), (2, 1, 64, 64), (0, 3, 64, 64)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    model = vit.vit(variant="tiny")
    with pytest.raises(ValueError, match=r"images must have shape \(B, 3, 64, 64\) with B >= 1, got"):
        model(torch.zeros(shape))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="num_heads must divide d_model = 10, got 3"):
        Attention(10, 3)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_consistent(name: str) -> None:
    sizes = VARIANTS[name]
    assert sizes.d_ff == 4 * sizes.d_model
    assert sizes.d_model % sizes.num_heads == 0
    assert sizes.image_size % sizes.patch == 0
    assert 0 < sizes.moe_blocks <= sizes.depth / 2
