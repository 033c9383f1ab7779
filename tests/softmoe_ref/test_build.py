import inspect

import pytest
import torch

import softmoe_ref
from softmoe_ref import MoE

SIZES = {"d_model": 8, "d_ff": 12}
AXES = {
    "dense": {},
    "soft": {"num_experts": 4, "slots_per_expert": 3},
    "token_choice": {"num_experts": 4},
    "expert_choice": {"num_experts": 4},
}


def test_every_name_in_the_table_builds_a_layer_that_maps_tokens_to_tokens() -> None:
    assert list(softmoe_ref.TABLE) == list(AXES)
    for name, axes in AXES.items():
        layer = softmoe_ref.build(name, **SIZES, **axes)
        assert isinstance(layer, MoE)
        assert layer.name == name
        x = torch.randn(2, 8, 8)
        assert layer(x).shape == x.shape


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("dense", {}),
        ("soft", {"router.phi": (8, 4, 3), "router.scale": ()}),
        ("token_choice", {"router.weight": (8, 4)}),
        ("expert_choice", {"router.weight": (8, 4)}),
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
    message = "unknown layer 'sotf'; allowed: dense, soft, token_choice, expert_choice"
    with pytest.raises(ValueError, match=f"^{message}$"):
        softmoe_ref.build("sotf", **SIZES)


def test_an_unknown_keyword_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(
        TypeError, match=r"^layer 'dense' takes no top_k; allowed: d_model, d_ff, activation, device, dtype$"
    ):
        softmoe_ref.build("dense", **SIZES, top_k=2)


def test_a_missing_keyword_is_named() -> None:
    with pytest.raises(TypeError, match=r"^layer 'soft' needs slots_per_expert; got: d_model, d_ff, num_experts$"):
        softmoe_ref.build("soft", **SIZES, num_experts=4)


@pytest.mark.parametrize("name", AXES)
def test_factories_take_keywords_only_and_default_all_but_the_sizes(name: str) -> None:
    parameters = inspect.signature(softmoe_ref.TABLE[name]).parameters.values()
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
    required = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    assert required == {"d_model", "d_ff", *AXES[name]} | ({"num_experts"} if name != "dense" else set())


@pytest.mark.parametrize("name", AXES)
def test_weights_come_from_the_global_generator(name: str) -> None:
    layers = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        layers.append(softmoe_ref.build(name, **SIZES, **AXES[name]).state_dict())
    assert torch.equal(layers[0]["experts.w1"], layers[1]["experts.w1"])
    assert not torch.equal(layers[0]["experts.w1"], layers[2]["experts.w1"])


@pytest.mark.parametrize("name", AXES)
def test_dtype_and_device_reach_every_parameter(name: str) -> None:
    layer = softmoe_ref.build(name, **SIZES, **AXES[name], dtype=torch.float64, device="meta")
    assert {(p.dtype, p.device.type) for p in layer.parameters()} == {(torch.float64, "meta")}
