"""The table of layers, layers from outside, and cases that have no meaning."""

import ast
import itertools
import tomllib
from pathlib import Path
from typing import Any

import pytest
from examples import AXES as EXAMPLES
from examples import SHAPE as SHAPE_OF_EXAMPLES
from installed import parameters

from bench import costs, layers, plan
from bench.axes import AXES, COMMON
from bench.costs.named import FIXED
from bench.errors import InputError
from bench.layers import TABLE, Layer, find, of_case, outside

ROOT = Path(__file__).parents[2]
SHAPE = {"batch_size": 2, "seq_len": 12, "group_size": None}
SPARSE = SHAPE | {"num_experts": 4, "top_k": 2, "capacity_factor": 1.0, "capacity_rounding": "round"}


WHOLE = [layer for layer in TABLE.values() if not layer.parts]


@pytest.mark.parametrize("layer", WHOLE, ids=lambda layer: layer.name)
def test_a_layer_of_the_table_is_complete(layer: Layer) -> None:
    assert find(layer.name) is layer
    assert set(layer.axes) <= set(AXES) - set(COMMON) - {"layer", "backend"}
    assert len(set(layer.takes)) == len(layer.takes)
    assert layer.cost is getattr(costs, layer.name, None)
    if layer.package is None:
        assert layer.cost is not None
        assert layer.oracle == "softmoe_ref.oracle:forward"


OTHERS = {name: layer for name, layer in TABLE.items() if layer.package is not None}


@pytest.mark.parametrize("name", OTHERS)
def test_a_layer_of_another_package_has_cost_and_oracle_where_one_of_ours_computes_the_same(name: str) -> None:
    layer = OTHERS[name]
    package = layer.package
    assert package is not None
    assert package.differs.endswith(".")
    assert package.install == f"pip install {package.name}=={package.version}"
    if package.matches is None:
        assert (layer.cost, layer.oracle) == (None, None)
    else:
        assert layer.cost is not None
        assert layer.oracle == "softmoe_ref.peers:truth"
        ours = find(str(package.matches["layer"]))
        assert ours.package is None
        assert set(package.matches) <= set(ours.takes)
        assert set(layer.axes) <= set(ours.axes)


def test_the_extra_names_every_package_with_the_version_that_was_checked() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extra = tomllib.load(file)["project"]["optional-dependencies"]["peers"]
    assert sorted(extra) == sorted(f"{layer.package.name}>={layer.package.version}" for layer in OTHERS.values())


def test_a_missing_package_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.layers.layer.package_versions", dict.fromkeys)
    assert OTHERS["soft_moe_bwconrad"].missing == (
        "soft-moe is not installed: pip install soft-moe==0.0.1, or pip install 'softmoe-bench[peers]'"
    )
    assert TABLE["soft"].missing is None
    monkeypatch.setattr("bench.layers.layer.package_versions", lambda names: dict.fromkeys(names, "9.9"))
    assert OTHERS["soft_moe_bwconrad"].missing is None


def test_where_a_layer_comes_from() -> None:
    assert layers.package("mixtral_transformers").name == "transformers"
    assert layers.package("soft") is None
    assert layers.package("my.moe:Layer") is None


@pytest.mark.parametrize(
    ("name", "axes", "reason"),
    [
        ("mixtral_transformers", {"num_experts": 4, "top_k": 4}, None),
        ("mixtral_transformers", {"num_experts": 4, "top_k": 5}, "top_k=5 is more than num_experts=4"),
        ("mixture_of_experts", {"num_experts": 2}, None),
        (
            "mixture_of_experts",
            {"num_experts": 1},
            "mixture-of-experts sends every token to two experts: num_experts must be at least 2",
        ),
        (
            "mixture_of_experts",
            {"num_experts": 2, "dtype": "bfloat16"},
            "mixture-of-experts multiplies float32 masks with its tokens: it runs in float32 only",
        ),
        ("st_moe_pytorch", {"num_experts": 2, "top_k": 2}, None),
        (
            "st_moe_pytorch",
            {"num_experts": 2, "top_k": 1},
            "st-moe-pytorch takes two experts per token or more, got top_k=1",
        ),
        ("st_moe_pytorch", {"num_experts": 2, "top_k": 3}, "top_k=3 is more than num_experts=2"),
        (
            "st_moe_pytorch",
            {"num_experts": 2, "top_k": 2, "dtype": "float16"},
            "st-moe-pytorch multiplies float32 masks with its tokens: it runs in float32 only",
        ),
        ("mixtral_transformers", {"num_experts": 4, "top_k": 2, "dtype": "bfloat16"}, None),
    ],
)
def test_cases_of_other_packages_without_a_meaning(name: str, axes: dict[str, Any], reason: str | None) -> None:
    assert TABLE[name].impossible({"dtype": "float32"} | axes) == reason


def source(module: str) -> str:
    path = ROOT / module.replace(".", "/")
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


@pytest.mark.parametrize("target", [t for layer in TABLE.values() for t in (layer.target, layer.oracle) if t])
def test_import_targets_exist(target: str) -> None:
    """Read, not imported: importing a layer would import torch."""
    module, _, name = target.partition(":")
    tree = ast.parse(source(module))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("layer", WHOLE, ids=lambda layer: layer.name)
def test_a_factory_names_every_keyword_that_it_is_called_with(layer: Layer) -> None:
    module, _, name = layer.target.partition(":")
    tree = ast.parse(source(module))
    (factory,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    named = {argument.arg for argument in (*factory.args.args, *factory.args.kwonlyargs)}
    assert set(layer.keywords) <= named


def test_what_a_layer_takes() -> None:
    assert TABLE["soft"].keywords == ("d_model", "d_ff", "backend", *TABLE["soft"].axes)
    assert TABLE["soft"].takes == ("layer", "backend", *TABLE["soft"].axes, *COMMON)
    assert TABLE["dense"].keywords == ("d_model", "d_ff", "activation")
    assert TABLE["dense"].takes == ("layer", "activation", *COMMON)


def test_a_layer_in_parts_has_one_for_every_combination_of_what_chooses() -> None:
    family = TABLE["vit"]
    assert family.chosen_by == ("variant", "moe")
    chosen = [tuple(part.chosen.values()) for part in family.parts]
    assert chosen == list(itertools.product(AXES["variant"].allowed, AXES["moe"].allowed))
    for part in family.parts:
        own, held = set(part.axes) - {"variant", "moe"}, TABLE[str(part.chosen["moe"])]
        assert own == set(held.axes) - {"activation"}
        assert part.backends == held.backends
        assert set(part.axes) <= set(family.axes)
        assert set(part.of_case) - set(part.takes) == {"seq_len", "d_model", "d_ff"}
        assert part.keywords == ("layer", *(("backend",) if held.backends else ()), *part.axes)
        assert family.part({**part.chosen, "seed": 1}) is part


# layers from outside


@pytest.mark.parametrize("like", [layer.name for layer in WHOLE])
def test_a_layer_from_outside_has_the_axes_of_its_model_and_neither_formula_nor_oracle(like: str) -> None:
    layer = outside("my.moe:Layer", like=like)
    assert (layer.name, layer.title, layer.target) == ("my.moe:Layer",) * 3
    assert layer.axes == TABLE[like].axes
    assert layer.impossible is TABLE[like].impossible
    assert (layer.backends, layer.cost, layer.oracle) == ((), None, None)
    assert layer.keywords == ("d_model", "d_ff", *TABLE[like].axes)


def test_an_import_target_stands_for_a_layer_like_soft() -> None:
    assert find("my.moe:Layer") == outside("my.moe:Layer", like="soft")


@pytest.mark.parametrize(
    "target", ["my.moe", ":Layer", "my.moe:", "my moe:Layer", "my.moe:a.b", "1my:Layer", "a:b:c", "a:b "]
)
def test_what_is_no_import_target(target: str) -> None:
    with pytest.raises(InputError) as error:
        outside(target, like="soft")
    assert str(error.value) == f"layer '{target}' is no import target: write package.module:factory"


def test_a_layer_that_is_like_none_of_the_table() -> None:
    with pytest.raises(InputError) as error:
        outside("my:Layer", like="sotf")
    assert str(error.value) == (f"unknown layer 'sotf'; did you mean soft? (allowed: {', '.join(TABLE)})")


def test_nothing_from_outside_stands_for_a_model() -> None:
    with pytest.raises(InputError) as error:
        outside("my:Layer", like="vit")
    assert str(error.value) == (
        "layer 'my:Layer' cannot be measured beside vit, only beside one of "
        f"{', '.join(name for name in TABLE if name != 'vit')}"
    )


def test_an_unknown_layer() -> None:
    with pytest.raises(InputError) as error:
        find("expert_chioce")
    assert str(error.value) == (
        f"unknown layer 'expert_chioce'; did you mean expert_choice? (allowed: {', '.join(TABLE)}); "
        "a layer of your own is written package.module:factory"
    )


@pytest.mark.parametrize("like", parameters(layer.name for layer in WHOLE))
def test_the_layer_of_a_case_is_called_with_the_axes_of_the_case(like: str) -> None:
    case = plan.single(like, {**SHAPE_OF_EXAMPLES, **EXAMPLES[like]})
    assert of_case(case) is TABLE[like]
    axes = {name: value for name, value in case.items() if name != "backend"} | {"layer": "my:Layer"}
    told = [name for name in outside("my:Layer", like=like).keywords if not AXES[name].later]
    assert of_case(axes).keywords == tuple(told)
    assert of_case(axes).target == "my:Layer"


# cases without a meaning


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"top_k": 4}, None),
        ({"top_k": 5}, "top_k=5 is more than num_experts=4"),
        ({"group_size": 8}, None),
        ({"group_size": 24}, None),
        ({"group_size": 5}, "group_size=5 does not divide the 24 tokens of a call"),
        ({"group_size": 48}, "group_size=48 does not divide the 24 tokens of a call"),
        ({"capacity_factor": None}, None),
        ({"capacity_factor": None, "top_k": 5}, "top_k=5 is more than num_experts=4"),
        # 12 tokens * 2 * c / 4 = 6c places: 0.6 rounds to 1, 0.3 to 0
        ({"capacity_factor": 0.1}, None),
        ({"capacity_factor": 0.05}, "capacity_factor=0.05 leaves no place for any token"),
        ({"capacity_factor": 0.05, "capacity_rounding": "ceil4"}, None),
    ],
)
def test_tokens_choice_without_a_meaning(changes: dict[str, Any], reason: str | None) -> None:
    assert TABLE["token_choice"].impossible(SPARSE | changes) == reason


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("switch", {}, None),
        ("switch", {"num_experts": 1}, None),
        ("switch", {"group_size": 5}, "group_size=5 does not divide the 24 tokens of a call"),
        ("switch", {"capacity_factor": 0.01}, None),  # rounded up, there is always a place
        ("gshard", {"capacity_factor": None}, None),
        ("gshard", {"num_experts": 1}, "top_k=2 is more than num_experts=1"),
        ("vmoe", {"top_k": 5}, "top_k=5 is more than num_experts=4"),
        ("vmoe", {"capacity_factor": 0.01}, None),
        ("mixtral", {}, None),
        ("mixtral", {"num_experts": 1}, "top_k=2 is more than num_experts=1"),
    ],
)
def test_named_layers_without_a_meaning(name: str, changes: dict[str, Any], reason: str | None) -> None:
    every = SPARSE | {"batch_priority": False, "activation": "gelu"} | changes
    own = {axis: value for axis, value in every.items() if axis in (*TABLE[name].axes, "batch_size", "seq_len")}
    assert TABLE[name].impossible(own) == reason


@pytest.mark.parametrize("name", FIXED)
def test_a_named_layer_leaves_no_axis_of_tokens_choice_undecided(name: str) -> None:
    free = set(TABLE[name].axes)
    assert not set(FIXED[name]) & free
    undecided = set(TABLE["token_choice"].axes) - set(FIXED[name]) - free
    costless = {"renormalize", "batch_priority"} | ({"capacity_rounding"} if name == "mixtral" else set())
    assert undecided <= costless  # none of these costs a product or a place


CHANGE = "change capacity_factor or num_experts"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"group_size": 5}, "group_size=5 does not divide the 24 tokens of a call"),
        (
            {"capacity_factor": None},
            "experts choice needs a capacity_factor: it decides how many tokens an expert takes",
        ),
        # 12 tokens * c / 4 = 3c places of a group of 12
        ({"capacity_factor": 4.0}, None),
        ({"capacity_factor": 5.0}, f"an expert would take 15 tokens of a group of 12: {CHANGE}"),
        ({"num_experts": 24}, f"an expert would take 0 tokens of a group of 12: {CHANGE}"),
        ({"num_experts": 24, "capacity_rounding": "ceil4"}, None),
        ({"num_experts": 24, "group_size": 24}, None),
    ],
)
def test_experts_choice_without_a_meaning(changes: dict[str, Any], reason: str | None) -> None:
    axes = {name: value for name, value in (SPARSE | changes).items() if name != "top_k"}
    assert TABLE["expert_choice"].impossible(axes) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"num_experts": 15}, "num_experts=15 is no square number: there is an expert for every pair of sub-keys"),
        ({"num_experts": 4, "top_k": 6}, "top_k=6 is more than num_experts=4"),
        ({"top_k": 16}, None),
        ({"top_k": 5}, "d_ff=48 is no multiple of top_k=5: it is the hidden neurons of a token, heads * top_k"),
    ],
)
def test_peer_without_a_meaning(changes: dict[str, Any], reason: str | None) -> None:
    assert TABLE["peer"].impossible({"num_experts": 16, "top_k": 4, "d_ff": 48} | changes) == reason


@pytest.mark.parametrize(
    ("slots", "reason"),
    [(3, None), (2, "identity needs as many slots as tokens: num_experts * slots_per_expert=8, seq_len=12")],
)
def test_the_identity_without_a_meaning(slots: int, reason: str | None) -> None:
    assert TABLE["identity"].impossible(SHAPE | {"num_experts": 4, "slots_per_expert": slots}) == reason


@pytest.mark.parametrize(("top_k", "reason"), [(4, None), (5, "top_k=5 is more than num_experts=4")])
def test_a_dense_layer_of_active_size_without_a_meaning(top_k: int, reason: str | None) -> None:
    assert TABLE["dense_active"].impossible(SPARSE | {"top_k": top_k}) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"top_k": 8}, None),
        ({"top_k": 9}, "top_k=9 is more than the 8 experts of top_groups=1"),
        ({"expert_groups": 3}, "expert_groups=3 does not divide num_experts=8"),
        ({"expert_groups": 4, "top_groups": 5}, "top_groups=5 is more than expert_groups=4"),
        ({"expert_groups": 4, "top_groups": 2, "top_k": 4}, None),
        ({"expert_groups": 4, "top_groups": 2, "top_k": 5}, "top_k=5 is more than the 4 experts of top_groups=2"),
    ],
)
def test_deepseek_without_a_meaning(changes: dict[str, Any], reason: str | None) -> None:
    axes = {"num_experts": 8, "top_k": 2, "expert_groups": 1, "top_groups": 1}
    assert TABLE["deepseek"].impossible(axes | changes) == reason


def test_remoe_needs_more_experts_than_a_token_has_on_average() -> None:
    assert TABLE["remoe"].impossible({"num_experts": 4, "top_k": 3}) is None
    assert TABLE["remoe"].impossible({"num_experts": 4, "top_k": 4}) == "top_k=4 is not below num_experts=4"


@pytest.mark.parametrize(
    "name",
    [
        "dense",
        "soft",
        "smear",
        "uniform",
        "soft_uniform",
        "uniform_soft",
        "dense_total",
        "hash_routing",
        "balanced_assignment",
    ],
)
def test_layers_without_places_always_have_a_meaning(name: str) -> None:
    assert TABLE[name].impossible({}) is None


# costs


def test_costs_are_those_of_the_mode() -> None:
    forward = plan.single("dense", {"seq_len": 6, "d_model": 5, "d_ff": 7})
    found = layers.cost(forward)
    both = layers.cost(forward.with_axes(mode="forward_backward"))
    assert found is not None
    assert both is not None
    assert (found.useful_flops, both.useful_flops) == (4 * 6 * 5 * 7, 3 * 4 * 6 * 5 * 7)
    assert both.mode == "forward_backward"


def test_a_layer_from_outside_has_no_known_cost() -> None:
    assert layers.cost({"layer": "my:Layer", "mode": "forward"}) is None
