import inspect

import pytest
import torch
from examples import AXES

import softmoe_ref
from softmoe_ref import MoE

SIZES = {"d_model": 8, "d_ff": 12}
WIDE = {"d_model": 32, "d_ff": 64}


def test_every_name_in_the_table_builds_a_layer_that_maps_tokens_to_tokens() -> None:
    assert set(softmoe_ref.TABLE) <= set(AXES)
    for name in softmoe_ref.TABLE:
        layer = softmoe_ref.build(name, **WIDE, **AXES[name])
        assert isinstance(layer, MoE)
        assert layer.name == name
        x = torch.randn(2, 64, 32)
        assert layer(x).shape == x.shape


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("dense", {}),
        ("soft", {"router.phi": (8, 4, 4), "router.scale": ()}),
        ("token_choice", {"router.weight": (8, 4)}),
        ("expert_choice", {"router.weight": (8, 4)}),
        (
            "deepseek",
            {
                "router.weight": (8, 4),
                "router.bias": (4,),
                "shared.w1": (1, 8, 12),
                "shared.b1": (1, 12),
                "shared.w2": (1, 12, 8),
                "shared.b2": (1, 8),
            },
        ),
        ("hash_routing", {}),
        ("balanced_assignment", {"router.weight": (8, 4)}),
        ("remoe", {"router.weight": (8, 4), "router.bias": (4,)}),
    ],
)
def test_state_dict_holds_exactly_the_agreed_names_and_shapes(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    experts = 1 if name == "dense" else 4
    expected = shapes | {
        "experts.w1": (experts, 8, 12),
        "experts.b1": (experts, 12),
        "experts.w2": (experts, 12, 8),
        "experts.b2": (experts, 8),
    }
    layer = softmoe_ref.build(name, **SIZES, **AXES[name])
    assert {key: tuple(value.shape) for key, value in layer.state_dict().items()} == expected


def test_an_unknown_name_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"^unknown layer 'sotf'; allowed: dense, soft, "):
        softmoe_ref.build("sotf", **SIZES)


def test_an_unknown_keyword_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(
        TypeError, match=r"^layer 'dense' takes no top_k; allowed: d_model, d_ff, activation, device, dtype$"
    ):
        softmoe_ref.build("dense", **SIZES, top_k=2)


@pytest.mark.parametrize("name", softmoe_ref.TABLE)
def test_every_layer_refuses_an_unknown_keyword_with_its_own_ones(name: str) -> None:
    own = ", ".join(inspect.signature(softmoe_ref.TABLE[name]).parameters)
    with pytest.raises(TypeError, match=f"^layer '{name}' takes no dmodel; allowed: {own}$"):
        softmoe_ref.build(name, **WIDE, **AXES[name], dmodel=8)


def test_a_missing_keyword_is_named() -> None:
    with pytest.raises(TypeError, match=r"^layer 'soft' needs slots_per_expert; got: d_model, d_ff, num_experts$"):
        softmoe_ref.build("soft", **SIZES, num_experts=4)


@pytest.mark.parametrize("name", softmoe_ref.TABLE)
def test_factories_take_keywords_only_and_default_all_but_the_sizes(name: str) -> None:
    parameters = inspect.signature(softmoe_ref.TABLE[name]).parameters.values()
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
    required = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    assert required == {"d_model", "d_ff", *AXES[name]}


@pytest.mark.parametrize("name", softmoe_ref.TABLE)
def test_weights_come_from_the_global_generator(name: str) -> None:
    layers = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        layers.append(next(softmoe_ref.build(name, **WIDE, **AXES[name]).parameters()))
    assert torch.equal(layers[0], layers[1])
    assert not torch.equal(layers[0], layers[2])


@pytest.mark.parametrize("name", softmoe_ref.TABLE)
def test_dtype_and_device_reach_every_parameter(name: str) -> None:
    layer = softmoe_ref.build(name, **WIDE, **AXES[name], dtype=torch.float64, device="meta")
    assert {(p.dtype, p.device.type) for p in layer.parameters()} == {(torch.float64, "meta")}
