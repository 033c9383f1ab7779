"""Many cases judged at once: which evidence is left when all of it is taken together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def holm(ps: Sequence[float], error: float) -> set[int]:
    """Returns the places whose evidence stands when not even one mistake may be made, but with this probability.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6, 1979.
    """
    found: set[int] = set()
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        if ps[place] > error / (len(ps) - rank):
            break
        found.add(place)
    return found


def benjamini_hochberg(ps: Sequence[float], share: float) -> set[int]:
    """Returns the places whose evidence stands when this share of what is claimed may be mistaken.

    Source: Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate", J. R. Stat. Soc. B 57, 1995.
    """
    order = sorted(range(len(ps)), key=ps.__getitem__)
    kept = 0
    for rank, place in enumerate(order, 1):
        if ps[place] <= share * rank / len(ps):
            kept = rank
    return set(order[:kept])
