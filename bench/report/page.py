"""The page: sections in the order of their table, one style sheet, no script, no address."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench import __version__
from bench.report import blocks, svg, view
from bench.report.sections import TABLE, history

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.history import History
    from bench.results import RunResults


def render(runs: Sequence[RunResults], *, past: History | None = None) -> str:
    """Returns the report of one or more runs as a page that needs no other file; same runs, same bytes.

    With `past`, a history of more runs than these stands after the summary.
    """
    if not runs:
        raise ValueError("a report needs at least one run, got none")
    names = ", ".join(view.run_names(runs))
    sections = [section for build in TABLE if (section := build(runs)) is not None]
    if past is not None:
        sections = [sections[0], history.of(past), *(s for s in sections[1:] if s.id != "history")]
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


def write(runs: Sequence[RunResults], path: Path, *, past: History | None = None) -> None:
    """Writes the report, whole or not at all: beside its place first, then renamed."""
    text = render(runs, past=past)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8", errors="replace", newline="\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
