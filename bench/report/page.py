"""The page: sections in the order of their table, one style sheet, no script, no address."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench import __version__
from bench.report import blocks, svg, view
from bench.report.sections import TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.results import RunResults


def render(runs: Sequence[RunResults]) -> str:
    """Returns the report of one or more runs as a page that needs no other file; same runs, same bytes."""
    if not runs:
        raise ValueError("a report needs at least one run, got none")
    names = ", ".join(view.run_names(runs))
    sections = [section for build in TABLE if (section := build(runs)) is not None]
    lighter = " ".join(f"--series-{i}: {colour};" for i, colour in enumerate(svg.LIGHTER))
    style = blocks.fill("style.css", lighter=lighter)
    page = blocks.fill(
        "page.html",
        title=f"{names} – softmoe-bench",
        names=names,
        version=__version__,
        style=style,
        sections=sections,
    )
    return str(page)


def write(runs: Sequence[RunResults], path: Path) -> None:
    """Writes the report, whole or not at all: beside its place first, then renamed."""
    text = render(runs)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8", errors="replace", newline="\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
