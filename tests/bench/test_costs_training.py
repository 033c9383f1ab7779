"""Training costs against the training columns of the paper's Table 8, and by hand."""

from __future__ import annotations

from typing import Any

import pytest

from bench.costs import training_exaflop

MILLION = 1_000_000

# arXiv:2308.00951v2 Table 8: model, experts of Soft MoE (None: dense), steps, exaFLOP of training; batches of 4096
TABLE_8 = [
    ("S/16", None, 4, 227.1),
    ("S/16", 128, 4, 211.9),
    ("S/16", 128, 10, 529.8),
    ("S/14", 256, 4, 325.7),
    ("S/14", 256, 10, 814.2),
    ("B/16", None, 4, 864.1),
    ("B/16", 128, 4, 786.4),
    ("L/16", None, 4, 3025.4),
    ("L/16", 128, 1, 683.5),
    ("L/16", 128, 2, 1367.0),
    ("L/16", 128, 4, 2734.1),
    ("H/14", None, 1, 2060.2),
    ("H/14", None, 2, 4120.3),
    ("H/14", 128, 1, 1754.6),
    ("H/14", 128, 2, 3509.2),
    ("H/14", 256, 1, 2110.1),
    ("H/14", 256, 2, 4220.3),
]
STEP: dict[str, Any] = {"steps": 1, "batch_size": 16}
SPARSE: dict[str, Any] = {"model": "S/16", "routing": "token_choice", "num_experts": 32, "group_size": 1568, "top_k": 1}


@pytest.mark.parametrize(("model", "experts", "millions", "exaflop"), TABLE_8)
def test_training_costs_of_table_8(model: str, experts: int | None, millions: int, exaflop: float) -> None:
    routing: Any = "dense" if experts is None else "soft"
    ours = training_exaflop(
        model=model, routing=routing, num_experts=experts, steps=millions * MILLION, batch_size=4096
    )
    assert ours == pytest.approx(exaflop, rel=0.01)
    standard = training_exaflop(
        model=model,
        routing=routing,
        num_experts=experts,
        steps=millions * MILLION,
        batch_size=4096,
        convention="standard",
    )
    assert standard == 2 * ours


def test_a_sparse_layer_pays_for_one_hot_dispatch_forwards_twice_and_backwards_thrice() -> None:
    """Per block and image: the router, places through an expert, and two products of tokens, places and width."""
    dense = training_exaflop(model="S/16", routing="dense", **STEP)
    sparse = training_exaflop(**SPARSE, capacity_factor=1.0, **STEP)
    router = 3 * 196 * 384 * 32
    places = 8 * 196  # 1568 tokens of 8 images, one choice each, 49 places for each of 32 experts
    one_hot = (2 + 3) * 1568 * places * 384 // 8
    assert sparse - dense == pytest.approx(6 * 16 * (router + one_hot) / 1e18, rel=1e-9)


def test_capacity_and_choices_scale_places() -> None:
    """With twice the places, experts and both one-hot products cost twice as much; experts choice has no top-k."""
    dense = training_exaflop(model="S/16", routing="dense", **STEP)
    router = 6 * 16 * 3 * 196 * 384 * 32 / 1e18
    expert = 6 * 16 * 3 * 196 * 2 * 384 * 1536 / 1e18
    once, twice, both = (
        training_exaflop(**SPARSE | {"top_k": k}, capacity_factor=c, **STEP) - dense - router + expert
        for k, c in ((1, 1.0), (1, 2.0), (2, 1.0))
    )
    assert twice == pytest.approx(2 * once)
    assert both == pytest.approx(twice)
    experts_choice = {name: value for name, value in SPARSE.items() if name != "top_k"} | {"routing": "expert_choice"}
    assert training_exaflop(**experts_choice, capacity_factor=2.0, **STEP) - dense - router + expert == twice


def test_other_patches_than_those_of_table_8_have_the_tokens_that_follow() -> None:
    """A quarter of the tokens: about a quarter of the cost but for the head, which does not see them."""
    whole, quarter = (training_exaflop(model=name, routing="dense", **STEP) for name in ("B/16", "B/32"))
    head = 3 * 16 * 768 * 29_593 / 1e18
    assert (quarter - head) / (whole - head) == pytest.approx(0.25, abs=0.015)


def test_groups_need_not_hold_whole_images() -> None:
    """Half an image each: one-hot products of half the length, so half their cost; capacity rounds to the same."""
    dense, whole, half = (
        training_exaflop(model="S/16", routing="dense", **STEP),
        *(
            training_exaflop(**SPARSE | {"group_size": g, "num_experts": 2}, capacity_factor=1.0, **STEP)
            for g in (196, 98)
        ),
    )
    router = 6 * 16 * 3 * 196 * 384 * 2 / 1e18
    assert half - dense - router == pytest.approx((whole - dense - router) / 2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "S"}, "model must be one of S, B, L, H, a slash and a patch, as S/16; got 'S'"),
        ({"model": "tiny"}, "model must be one of S, B, L, H"),
        ({"model": "S/15"}, "the patch of model S/15 must divide the image's 224 pixels"),
        ({"routing": "hash"}, "routing must be one of dense, soft, token_choice, expert_choice, got 'hash'"),
        ({"routing": "dense"}, "num_experts means nothing for dense routing: leave it out"),
        ({"routing": "expert_choice"}, "top_k means nothing for expert_choice routing"),
        ({"top_k": None}, "token_choice routing needs top_k"),
        ({"capacity_factor": None}, "token_choice routing needs capacity_factor"),
        ({"group_size": 197}, "group_size 197 does not divide a batch of 16 images, 196 tokens each"),
        ({"group_size": 0}, "group_size must be a whole number of at least 1, got 0"),
        ({"num_experts": 10_000}, "an expert has no place"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size must be a whole number of at least 1, got 1.5"),
        ({"convention": "mac"}, "convention must be one of paper, standard, got 'mac'"),
        (
            {"routing": "soft", "top_k": None, "capacity_factor": None},
            "soft routes the 196 tokens of one image together, got group_size 1568",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  (its text is what is tested)
        training_exaflop(**SPARSE | {"capacity_factor": 1.0} | STEP | changes)
    assert says in str(refused.value)
