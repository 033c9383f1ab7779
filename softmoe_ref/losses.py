"""Auxiliary losses that keep a sparse router's load even or its logits small; each a function of a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from softmoe_ref.routing import Assignments

TABLE: Final[Mapping[str, Callable[[Assignments], Tensor]]] = {}
