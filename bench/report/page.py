"""The page: sections in the order of their table, one style sheet, one script that no reading needs, no address."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup

from bench import __version__, files
from bench.report import blocks, svg, view
from bench.report.sections import TABLE, history

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.history import History
    from bench.report.section import Section
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
    return of_sections(f"{names} – softmoe-bench", names, sections)


def of_sections(title: str, names: str, sections: Sequence[Section]) -> str:
    """Returns a page of some sections, made from what `names` says, with the style and the script of all pages."""
    lighter = " ".join(f"--series-{i}: {colour};" for i, colour in enumerate(svg.LIGHTER))
    script = resources.files("bench.report").joinpath("templates", "script.js").read_text(encoding="utf-8")
    page = blocks.fill(
        "page.html",
        title=title,
        names=names,
        version=__version__,
        style=blocks.fill("style.css", lighter=lighter),
        script=Markup(script),  # noqa: S704  (a file of ours, without a word of anybody's run)
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        sections=sections,
    )
    return str(page)


def write(runs: Sequence[RunResults], path: Path) -> None:
    """Writes the report, whole or not at all."""
    files.write(path, render(runs))
