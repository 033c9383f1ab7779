"""Images: the same for the same arguments, and with the statistics that their kind promises."""

from typing import Any

import numpy as np
import pytest

from bench import images, inputs
from bench.images import KINDS, make

SMALL = {"batch_size": 3, "image_size": 40, "seed": 7}


@pytest.mark.parametrize("kind", KINDS)
def test_images_depend_on_the_arguments_only(kind: str) -> None:
    first = make(kind, **SMALL)
    assert first.dtype == np.float32
    assert first.shape == (3, 3, 40, 40)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, make(kind, **SMALL))
    for other in (SMALL | {"seed": 8}, SMALL | {"turn": 1}):
        assert not np.array_equal(first, make(kind, **other))
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_have_about_mean_0_and_variance_1(kind: str) -> None:
    pixels = make(kind, batch_size=32, image_size=64, seed=0)
    tolerance = 0.01 if kind == "gaussian" else 0.4  # a crop is brighter or darker than its photograph
    assert abs(pixels.mean()) < tolerance
    assert abs(pixels.std() - 1) < tolerance


def test_an_image_is_the_crop_that_tokens_are_cut_from() -> None:
    image = make("photo", batch_size=1, image_size=224, seed=5)[0]
    pixels = inputs.crop(inputs.rng(5, "crops/0"), 14, 14)
    np.testing.assert_allclose(image.transpose(1, 2, 0), pixels, atol=0.05)


def test_neighbouring_pixels_resemble_each_other() -> None:
    for kind, alike in (("photo", True), ("gaussian", False)):
        pixels = make(kind, batch_size=4, image_size=64, seed=1)
        assert ((pixels[..., 1:] * pixels[..., :-1]).mean() > 0.5) is np.bool_(alike)


def test_what_is_made_for_a_router_is_refused() -> None:
    assert [images.refuse(kind) for kind in KINDS] == [None, None]
    with pytest.raises(ValueError, match=r"input skewed:2 is made for the router of one layer; a model takes photo or"):
        make("skewed:2", **SMALL)


@pytest.mark.parametrize("changed", [{"batch_size": 0}, {"image_size": 0}, {"seed": -1}])
def test_a_size_out_of_range_is_named(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(changed))} must be at least"):
        make("gaussian", **SMALL | changed)
