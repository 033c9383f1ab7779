"""Layers as parameters of a test: one whose package is not installed is skipped, and says why."""

from collections.abc import Iterable
from typing import Any

import pytest

from bench import layers


def needs(name: str) -> pytest.MarkDecorator:
    """Return the mark of a test that needs this layer's package."""
    missing = layers.TABLE[name].missing
    return pytest.mark.skipif(missing is not None, reason=missing or "")


def parameters(names: Iterable[str] = layers.TABLE, *axes: object) -> list[Any]:
    """Return a parameter for each layer: its name, and the same further values for all."""
    return [pytest.param(name, *axes, marks=needs(name), id=name) for name in names]
