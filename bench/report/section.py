"""The contract of a section of the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.results import RunResults

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Section:
    """One part of the page: `id` is its anchor, `body` its HTML."""

    id: str
    title: str
    body: Markup


Build = Callable[[Sequence[RunResults]], Section | None]
"""Makes a section from the runs, or None where they hold nothing that it could show."""
