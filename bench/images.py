"""Images for a model: gaussian noise, or crops of the photographs from which `bench.inputs` makes tokens.

Everything is drawn from numpy's PCG64 and depends on the arguments only, so that a case has the same images in every
run.
"""
# ruff: noqa: PLC0415 - numpy is imported where images are made: reading a grid or --help does not need it

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import inputs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Images = npt.NDArray[np.float32]

KINDS = ("photo", "gaussian")


def refuse(kind: str) -> str | None:
    """Returns why there are no images of a kind of input, or None."""
    name, _ = inputs.parse(kind)
    if name in KINDS:
        return None
    return f"input {kind} is made for the router of one layer; a model takes {' or '.join(KINDS)}"


def make(kind: str, *, batch_size: int, image_size: int, seed: int, turn: int = 0) -> Images:
    """Images (batch_size, 3, image_size, image_size) in float32, the same for the same arguments.

    Each channel has about mean 0 and variance 1. `turn` is another batch of the same kind.

    Raises:
        ValueError: an argument is out of range, or the kind has no images.
        PhotographsMissingError: `photo` without scikit-learn's sample images.
    """
    import numpy as np

    reason = refuse(kind)
    if reason is not None:
        raise ValueError(reason)
    for label, value, least in (("batch_size", batch_size, 1), ("image_size", image_size, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{label} must be at least {least}, got {value}")
    shape = (batch_size, 3, image_size, image_size)
    if kind == "gaussian":
        return inputs.rng(seed, f"images/{turn}").standard_normal(shape, dtype=np.float32)
    draw = inputs.rng(seed, f"crops/{turn}")
    images = np.empty(shape, dtype=np.float32)
    for image in images:
        image[:] = inputs.crop(draw, 1, 1, patch=image_size).transpose(2, 0, 1)
    return images
