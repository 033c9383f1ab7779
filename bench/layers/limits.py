"""Why a case has no meaning: the reasons that several layers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.axes import AxisValue


def too_many_choices(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns the reason if a token would choose more experts than there are, or None."""
    if int(axes["top_k"] or 0) > int(axes["num_experts"] or 0):
        return f"top_k={axes['top_k']} is more than num_experts={axes['num_experts']}"
    return None


def uneven_groups(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns the reason if the tokens of a call do not fall into whole groups, or None."""
    tokens = int(axes["batch_size"] or 0) * int(axes["seq_len"] or 0)
    if tokens % group_size(axes):
        return f"group_size={axes['group_size']} does not divide the {tokens} tokens of a call"
    return None


def group_size(axes: Mapping[str, AxisValue]) -> int:
    """Returns the tokens of a group, those of a sequence where nothing else is said."""
    return int(axes["group_size"] or axes["seq_len"] or 0)
