"""Tokens: the same for the same arguments, and with the statistics that their kind promises."""

import functools
import itertools
import math
from typing import Any

import numpy as np
import pytest

from bench import inputs
from bench.inputs import KINDS, PhotographsMissingError, make, parse

SMALL = {"batch_size": 3, "seq_len": 20, "d_model": 24, "seed": 7}


def router(d_model: int, num_experts: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((d_model, num_experts)) / math.sqrt(d_model)


def choices(tokens: np.ndarray, weight: np.ndarray, top_k: int) -> np.ndarray:
    """The experts of each token, best first: softmax keeps the order of the logits."""
    logits = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64) @ weight
    return np.argsort(-logits, axis=1)[:, :top_k]


def zipf(num_experts: int, exponent: float) -> np.ndarray:
    weights = np.arange(1, num_experts + 1) ** -float(exponent)
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("kind", "parsed"),
    [
        ("gaussian", ("gaussian", None)),
        ("photo", ("photo", None)),
        ("skewed", ("skewed", 1.0)),
        ("skewed:1.5", ("skewed", 1.5)),
        ("skewed:0", ("skewed", 0.0)),
    ],
)
def test_a_kind_is_a_name_and_perhaps_an_exponent(kind: str, parsed: tuple[str, float | None]) -> None:
    assert parse(kind) == parsed


@pytest.mark.parametrize("kind", ["skewed:abc", "skewed:", "skewed:-1", "skewed:nan", "skewed:inf"])
def test_an_exponent_that_is_no_number_is_refused_with_an_example(kind: str) -> None:
    with pytest.raises(ValueError, match=r"exponent must be a number of at least 0, such as skewed:1.5") as caught:
        parse(kind)
    assert repr(kind) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["", "noise", "gaussian:2", "photo:", "Skewed"])
def test_an_unknown_kind_is_refused_with_those_allowed(kind: str) -> None:
    with pytest.raises(ValueError, match="allowed are gaussian, photo, skewed or skewed:EXPONENT"):
        parse(kind)


@pytest.mark.parametrize("kind", list(KINDS))
def test_tokens_depend_on_the_arguments_only(kind: str) -> None:
    first, again = make(kind, **SMALL), make(kind, **SMALL)
    assert first.dtype == np.float32
    assert first.shape == (3, 20, 24)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, make(kind, **SMALL | {"seed": 8}))


@pytest.mark.parametrize("changed", [{"batch_size": 0}, {"seq_len": 0}, {"d_model": -1}, {"seed": -1}])
def test_a_size_out_of_range_is_named(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(changed))} must be at least"):
        make("gaussian", **SMALL | changed)


def test_gaussian_tokens_are_standard_normal() -> None:
    tokens = make("gaussian", batch_size=16, seq_len=100, d_model=64, seed=0)
    assert abs(tokens.mean()) < 0.01
    assert abs(tokens.std() - 1) < 0.01


@pytest.mark.parametrize("seq_len", [1, 2, 49, 64, 196, 200])
def test_photographs_fill_any_number_of_tokens(seq_len: int) -> None:
    assert make("photo", batch_size=2, seq_len=seq_len, d_model=32, seed=0).shape == (2, seq_len, 32)


def test_a_photograph_token_has_mean_0_and_variance_1() -> None:
    tokens = make("photo", batch_size=4, seq_len=196, d_model=96, seed=0)
    np.testing.assert_allclose(tokens.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(tokens.var(axis=-1), 1, atol=1e-4)


def neighbours(kind: str) -> tuple[float, float]:
    """Mean correlation of a patch with the one to its right and the one below, 14 x 14 patches."""
    grid = make(kind, batch_size=8, seq_len=196, d_model=96, seed=1).reshape(8, 14, 14, 96)
    right, below = grid[:, :, 1:] * grid[:, :, :-1], grid[:, 1:] * grid[:, :-1]
    return right.mean(), below.mean()


def test_neighbouring_patches_resemble_each_other_in_both_directions() -> None:
    assert all(correlation > 0.5 for correlation in neighbours("photo"))
    assert all(abs(correlation) < 0.05 for correlation in neighbours("gaussian"))


def test_patches_come_in_raster_order_and_the_rest_of_the_grid_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.random.default_rng(0).standard_normal((2 * 16, 3 * 16, 3), dtype=np.float32)
    sizes = {"batch_size": 1, "d_model": 12, "seed": 0}
    monkeypatch.setattr(inputs, "crop", lambda *_: picture)
    five = make("photo", seq_len=5, **sizes)[0]
    for index, (row, column) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]):
        patch = picture[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        monkeypatch.setattr(inputs, "crop", lambda *_, patch=patch: patch)
        np.testing.assert_allclose(five[index], make("photo", seq_len=1, **sizes)[0, 0], atol=1e-5)


def test_every_crop_is_another_one() -> None:
    crops = make("photo", batch_size=12, seq_len=16, d_model=32, seed=5)
    for one, other in itertools.combinations(crops, 2):
        assert np.abs(one - other).max() > 0.1


def test_the_embedding_does_not_change_with_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.linspace(0, 1, 16 * 16 * 3, dtype=np.float32).reshape(16, 16, 3)
    monkeypatch.setattr(inputs, "crop", lambda *_: flat)
    sizes = {"batch_size": 1, "seq_len": 1, "d_model": 8}
    np.testing.assert_array_equal(make("photo", seed=1, **sizes), make("photo", seed=2, **sizes))


def test_a_crop_is_a_piece_of_a_photograph_in_its_own_colours() -> None:
    pixels, mean, deviation = inputs._photographs()[0]
    assert pixels.shape == (427, 640, 3)
    values = inputs.crop(np.random.default_rng(0), 14, 14) * deviation + mean
    assert values.shape == (224, 224, 3)
    assert 30 < values.mean() < 220


def test_without_scikit_learn_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_photographs", functools.cache(inputs._photographs.__wrapped__))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(PhotographsMissingError, match="pip install scikit-learn, or use input gaussian"):
        make("photo", **SMALL)


@pytest.mark.parametrize("exponent", [0, 0.5, 1, 1.5])
@pytest.mark.parametrize("num_experts", [4, 16])
def test_the_first_choices_follow_zipfs_law(exponent: float, num_experts: int) -> None:
    weight = router(64, num_experts)
    tokens = make(f"skewed:{exponent}", batch_size=20, seq_len=1000, d_model=64, seed=0, router_weight=weight)
    load = np.bincount(choices(tokens, weight, 1)[:, 0], minlength=num_experts)
    expected = zipf(num_experts, exponent) * 20_000
    observed = np.sort(load)[::-1] if exponent else load
    # chi square has mean E - 1 and standard deviation sqrt(2 (E - 1)) where the law holds; sorting only lowers it
    assert ((observed - expected) ** 2 / expected).sum() < num_experts - 1 + 5 * math.sqrt(2 * (num_experts - 1))


@pytest.mark.parametrize("exponent", [0.5, 1, 1.5])
def test_the_first_two_choices_are_drawn_without_replacement(exponent: float) -> None:
    weight = router(64, 8)
    tokens = make(f"skewed:{exponent}", batch_size=20, seq_len=1000, d_model=64, seed=0, router_weight=weight)
    law = zipf(8, exponent)
    second = [sum(law[j] * law[e] / (1 - law[j]) for j in range(8) if j != e) for e in range(8)]
    load = np.sort(np.bincount(choices(tokens, weight, 2).ravel(), minlength=8))[::-1]
    np.testing.assert_allclose(load / 20_000, law + np.array(second), atol=0.015)


def test_which_expert_is_popular_depends_on_the_seed() -> None:
    weight = router(32, 8)
    sizes = {"batch_size": 4, "seq_len": 250, "d_model": 32, "router_weight": weight}
    favourites = set()
    for seed in range(6):
        load = np.bincount(choices(make("skewed:2", seed=seed, **sizes), weight, 1)[:, 0], minlength=8)
        favourites.add(int(load.argmax()))
    assert len(favourites) > 1


def test_steering_permutes_the_logits_and_moves_no_further_than_the_router_sees() -> None:
    weight = router(24, 5)
    plain = make("gaussian", **SMALL).reshape(-1, 24).astype(np.float64)
    steered = make("skewed", **SMALL, router_weight=weight).reshape(-1, 24).astype(np.float64)
    np.testing.assert_allclose(np.sort(steered @ weight), np.sort(plain @ weight), atol=1e-5)
    seen = weight @ np.linalg.pinv(weight)  # projects on the router's column space
    change = steered - plain
    assert np.abs(change).max() > 0.1
    np.testing.assert_allclose(change @ seen.T, change, atol=1e-5)


def test_many_tokens_are_steered_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = router(24, 5)
    whole = make("skewed", **SMALL, router_weight=weight)
    monkeypatch.setattr(inputs, "_ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(make("skewed", **SMALL, router_weight=weight), whole, atol=1e-5)


def test_as_many_experts_as_dimensions_still_work() -> None:
    weight = router(16, 16)
    tokens = make("skewed:1", batch_size=1, seq_len=500, d_model=16, seed=0, router_weight=weight.astype(np.float32))
    load = np.bincount(choices(tokens, weight, 1)[:, 0], minlength=16)
    assert load.max() / 500 == pytest.approx(zipf(16, 1)[0], abs=0.06)


@pytest.mark.parametrize("d_model", [1, 4, 32])
def test_layers_without_a_router_get_a_stand_in(d_model: int) -> None:
    tokens = make("skewed:1", batch_size=2, seq_len=10, d_model=d_model, seed=0)
    assert tokens.shape == (2, 10, d_model)
    if d_model > 1:
        assert not np.array_equal(tokens, make("gaussian", batch_size=2, seq_len=10, d_model=d_model, seed=0))


def test_more_experts_than_dimensions_cannot_be_steered() -> None:
    with pytest.raises(ValueError, match="num_experts at most d_model"):
        make("skewed", **SMALL, router_weight=router(24, 25))


def test_twin_experts_cannot_be_told_apart() -> None:
    weight = router(24, 4)
    weight[:, 3] = weight[:, 0]
    with pytest.raises(ValueError, match="full column rank"):
        make("skewed", **SMALL, router_weight=weight)


def test_a_router_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(24, E\), got shape \(8, 24\)"):
        make("skewed", **SMALL, router_weight=router(8, 24))
