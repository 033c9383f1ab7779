"""Tokens for a layer: gaussian noise, patches of real photographs, or tokens that load a sparse router unevenly.

Why three: independent tokens load all experts almost equally, which no trained model does. Photographs bring correlated
tokens; `skewed` sets the load by a law with one number. Everything is drawn from numpy's PCG64 and depends on the
arguments only, so that a case has the same input in every run.
"""
# ruff: noqa: PLC0415 - numpy and Pillow are imported where tokens are made: reading a grid or --help needs neither

from __future__ import annotations

import functools
import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Tokens = npt.NDArray[np.float32]

PATCH = 16
"""Side of a patch in pixels, as in ViT S/16 (Dosovitskiy et al. 2021, arXiv:2010.11929)."""
SMALLEST_CROP = 0.4
"""Side of the smallest crop, as a share of the largest one that fits into the photograph."""
STAND_IN_EXPERTS = 8
PHOTOGRAPHS = ("china.jpg", "flower.jpg")

_EMBEDDING_SEED = 2308_00951  # the same embedding in every batch, whatever the case's seed
_ROWS_AT_ONCE = 8192  # bounds the (rows, E) float64 matrices of the skewed kind


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of input: how it is written in a grid, and what it is."""

    written: str
    text: str


KINDS = {
    "gaussian": Kind("gaussian", "independent standard normal tokens"),
    "photo": Kind("photo", "16 x 16 patches of crops of two photographs, embedded and normalised: correlated tokens"),
    "skewed": Kind(
        "skewed or skewed:EXPONENT",
        "gaussian tokens moved so that a sparse router's load follows rank^-EXPONENT (default 1; 0 is uniform)",
    ),
}
"""Name -> kind, in the order in which they are listed."""


class PhotographsMissingError(RuntimeError):
    """The sample photographs of scikit-learn are not on this machine."""


def parse(kind: str) -> tuple[str, float | None]:
    """(name, exponent) of a kind as written in a grid; the exponent is None for kinds that take none.

    Raises:
        ValueError: the kind is unknown, or its exponent is not a finite number of at least 0.
    """
    name, colon, written = kind.partition(":")
    allowed = ", ".join(known.written for known in KINDS.values())
    if name not in KINDS or (colon and name != "skewed"):
        raise ValueError(f"input {kind!r} is unknown; allowed are {allowed}")
    if name != "skewed":
        return name, None
    try:
        exponent = float(written) if colon else 1.0
    except ValueError:
        exponent = math.nan
    if not 0 <= exponent < math.inf:
        raise ValueError(
            f"input {kind!r}: the exponent must be a number of at least 0, such as skewed:1.5; allowed are {allowed}"
        )
    return name, exponent


def make(
    kind: str,
    *,
    batch_size: int,
    seq_len: int,
    d_model: int,
    seed: int,
    turn: int = 0,
    router_weight: npt.NDArray[np.floating] | None = None,
) -> Tokens:
    """Tokens (batch_size, seq_len, d_model) in float32, the same for the same arguments.

    Args:
        kind: see `KINDS`.
        batch_size: B sequences.
        seq_len: M tokens each.
        d_model: width D of a token.
        seed: of everything that is drawn; the photographs' embedding has its own, fixed one.
        turn: another batch of the same kind: other tokens, but the same experts stay popular.
        router_weight: (D, E) weight of the sparse router to be loaded by `skewed`; other kinds ignore it. Layers
            without one (dense, soft) pass None, and a seeded gaussian router of 8 experts (of D if that is smaller)
            stands in.

    Raises:
        ValueError: an argument is out of range, or the router cannot be steered (E > D, or rank below E).
        PhotographsMissingError: `photo` without scikit-learn's sample images.
    """
    name, exponent = parse(kind)
    for label, value, least in (
        ("batch_size", batch_size, 1),
        ("seq_len", seq_len, 1),
        ("d_model", d_model, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise ValueError(f"{label} must be at least {least}, got {value}")
    if name == "photo":
        return _photo(batch_size, seq_len, d_model, rng(seed, f"crops/{turn}"))
    tokens = rng(seed, f"tokens/{turn}").standard_normal((batch_size * seq_len, d_model), dtype="float32")
    if exponent is not None:
        tokens = _steer(tokens, router_weight, exponent, seed, turn)
    return tokens.reshape(batch_size, seq_len, d_model)


def rng(seed: int, stream: str) -> np.random.Generator:
    """One stream of random numbers for each purpose, so that a change to one leaves the others alone."""
    import numpy as np

    return np.random.Generator(np.random.PCG64([seed, *stream.encode()]))


def _steer(
    tokens: Tokens, router_weight: npt.NDArray[np.floating] | None, exponent: float, seed: int, turn: int
) -> Tokens:
    """Move tokens (T, D) by the least amount that makes the router rank experts as drawn from Zipf's law.

    Each token draws a ranking without replacement: perturbing log-weights by Gumbel noise and sorting draws from the
    Plackett-Luce distribution (Kool et al. 2019, arXiv:1903.06059), so the first choices follow rank^-exponent exactly.
    Its own logits are then permuted to follow that ranking, which keeps their distribution.
    """
    import numpy as np

    width = tokens.shape[1]
    if router_weight is None:
        stand_in = rng(seed, "router").standard_normal((width, min(STAND_IN_EXPERTS, width)))
        weight = stand_in / math.sqrt(width)
    else:
        weight = np.asarray(router_weight, dtype=np.float64)
    if weight.ndim != 2 or weight.shape[0] != width:
        raise ValueError(f"router_weight must be (d_model, num_experts) = ({width}, E), got shape {weight.shape}")
    experts = weight.shape[1]
    if experts > width or np.linalg.matrix_rank(weight) < experts:
        raise ValueError(
            f"skewed input needs a router whose {experts} experts can be told apart in {width} dimensions: "
            "num_experts at most d_model, and a router_weight of full column rank"
        )
    popularity = rng(seed, "popularity").permutation(experts)  # rank of each expert
    log_weight = -exponent * np.log1p(popularity)
    inverse, noise = np.linalg.pinv(weight), rng(seed, f"ranking/{turn}")
    moved = np.empty_like(tokens)
    for start in range(0, len(tokens), _ROWS_AT_ONCE):
        part = tokens[start : start + _ROWS_AT_ONCE].astype(np.float64)
        logits = part @ weight
        ranking = np.argsort(-(log_weight + noise.gumbel(size=logits.shape)), axis=1)
        wanted = np.empty_like(logits)
        np.put_along_axis(wanted, ranking, -np.sort(-logits, axis=1), axis=1)
        moved[start : start + _ROWS_AT_ONCE] = part + (wanted - logits) @ inverse
    return moved


def _photo(batch_size: int, seq_len: int, d_model: int, draw: np.random.Generator) -> Tokens:
    import numpy as np

    columns = math.ceil(math.sqrt(seq_len))
    rows = math.ceil(seq_len / columns)
    embedding = rng(_EMBEDDING_SEED, "embedding").standard_normal((PATCH * PATCH * 3, d_model), dtype=np.float32)
    embedding /= math.sqrt(PATCH * PATCH * 3)
    tokens = np.empty((batch_size, seq_len, d_model), dtype=np.float32)
    for sequence in tokens:
        pixels = crop(draw, rows, columns)
        # (rows * 16, columns * 16, 3) -> (rows * columns, 16 * 16 * 3), patches in raster order
        patches = pixels.reshape(rows, PATCH, columns, PATCH, 3).swapaxes(1, 2).reshape(rows * columns, -1)
        sequence[:] = _layer_norm(patches[:seq_len] @ embedding)
    return tokens


def _layer_norm(x: Tokens) -> Tokens:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    normed: Tokens = centred / (variance + 1e-12) ** 0.5
    return normed


def crop(draw: np.random.Generator, rows: int, columns: int, *, patch: int = PATCH) -> Tokens:
    """A random photograph, place, size and side, resized to rows x columns patches, each channel about N(0, 1).

    Height, width and channels, in this order; `patch` is the side of a patch in pixels.
    """
    import numpy as np
    from PIL import Image

    pixels, mean, deviation = _photographs()[int(draw.integers(len(PHOTOGRAPHS)))]
    image = Image.fromarray(pixels)
    largest = min(image.width / columns, image.height / rows)  # pixels of the photograph for one patch
    side = largest * draw.uniform(SMALLEST_CROP, 1.0)
    left = draw.uniform(0, image.width - side * columns)
    top = draw.uniform(0, image.height - side * rows)
    box = (left, top, min(left + side * columns, image.width), min(top + side * rows, image.height))
    resized = image.resize((columns * patch, rows * patch), Image.Resampling.BICUBIC, box=box)
    values = (np.asarray(resized, dtype=np.float32) - mean) / deviation
    return values[:, ::-1] if draw.random() < 0.5 else values


@functools.cache
def _photographs() -> list[tuple[npt.NDArray[np.uint8], Tokens, Tokens]]:
    """(pixels, mean and standard deviation of each channel) of both photographs; read them, never write to them."""
    import numpy as np
    from PIL import Image

    found = importlib.util.find_spec("sklearn")  # finds the folder without running the package
    folders = () if found is None else tuple(found.submodule_search_locations or ())
    loaded = []
    for name in PHOTOGRAPHS:
        paths = [path for folder in folders if (path := Path(folder, "datasets", "images", name)).is_file()]
        if not paths:
            raise PhotographsMissingError(
                f"input 'photo' needs {name} from scikit-learn's sample images, which is not installed here; "
                "pip install scikit-learn, or use input gaussian"
            )
        with Image.open(paths[0]) as image:
            pixels = np.asarray(image.convert("RGB"))
        channels = pixels.reshape(-1, 3).astype(np.float64)
        mean, deviation = channels.mean(axis=0).astype(np.float32), channels.std(axis=0).astype(np.float32)
        loaded.append((pixels, mean, deviation))
    return loaded
