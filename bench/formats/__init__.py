"""How a comparison is written down for machines and for people who read it elsewhere than in a terminal.

One file per format and one line here; the table of the terminal is `bench.cli.terminal`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.formats import data, github, junit, markdown
from bench.formats.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.verdicts import Comparisons

TABLE: dict[str, Callable[[Comparisons, Context], str]] = {
    "markdown": markdown.render,
    "json": data.render,
    "junit": junit.render,
    "github": github.render,
}

__all__ = ["TABLE", "Context"]
