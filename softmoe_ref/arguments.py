"""Checks of a layer's arguments: each raises one sentence that says the name, what is allowed and what came."""

import math
from collections.abc import Iterable

from torch import Tensor


def positive_integer(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def whole_number(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be a whole number of at least 0, got {value!r}")


def positive_number(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")


def number_from_zero(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")


def at_most(name: str, value: int, bound_name: str, bound: int) -> None:
    """Raise ValueError unless `value` is at most the argument `bound_name`, which is `bound`."""
    if value > bound:
        raise ValueError(f"{name} must be at most {bound_name} = {bound}, got {value}")


def one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raise ValueError unless `value` is one of the `allowed` words."""
    words = list(allowed)
    if value not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}, got {value!r}")


def tokens(x: Tensor, d_model: int) -> None:
    """Raise ValueError unless `x` is a batch of token sequences (B, M, d_model) with at least one token."""
    if x.dim() != 3 or x.shape[-1] != d_model or x.numel() == 0:
        raise ValueError(f"tokens must have shape (B, M, {d_model}) with B, M >= 1, got {tuple(x.shape)}")
