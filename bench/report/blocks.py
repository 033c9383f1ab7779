"""The pieces a section is built of, as escaped HTML: paragraphs, tables, galleries of charts, notes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.report.cells import Cell, Content
from bench.report.naming import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.report.charts import Chart


@dataclass(frozen=True)
class Column:
    """A column of a table; numbers are aligned to the right, a long one may break its lines.

    `unit` is the base unit of its numbers, `ends` says that they are low and high of an interval, `choice` that readers
    pick rows by its values.
    """

    title: str
    number: bool = False
    hint: str = ""
    long: bool = False
    unit: str = ""
    ends: bool = False
    choice: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row; `ids` are the anchors of the rows."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Content]]
    caption: str = ""
    ids: Sequence[str] = ()


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Returns the templates; everything that is not `Markup` is escaped."""
    return Environment(
        loader=PackageLoader("bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def fill(template: str, **values: object) -> Markup:
    """Returns a filled template."""
    return Markup(environment().get_template(template).render(**values))  # noqa: S704  (autoescape is on)


def paragraph(text: str | Markup, kind: str = "") -> Markup:
    """Returns a paragraph."""
    return Markup('<p class="{}">{}</p>').format(kind, text) if kind else Markup("<p>{}</p>").format(text)


def heading(text: str) -> Markup:
    """Returns a heading within a section."""
    return Markup("<h3>{}</h3>").format(text)


def items(lines: Iterable[str | Markup], kind: str = "") -> Markup:
    """Returns a list."""
    inner = Markup("").join(Markup("<li>{}</li>").format(line) for line in lines)
    return Markup('<ul class="{}">{}</ul>').format(kind, inner)


def table(found: Table) -> Markup:
    """Returns a table in a box that scrolls sideways."""
    rows = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in found.rows]
    return fill("table.html", table=found, rows=rows)


def gallery(charts: Iterable[Chart]) -> Markup:
    """Returns charts side by side where there is room."""
    return fill("gallery.html", charts=list(charts))


def details(summary: str, body: Markup, *, opened: bool = False) -> Markup:
    """Returns something that opens on demand."""
    return Markup("<details{}><summary>{}</summary>{}</details>").format(
        Markup(" open") if opened else "", summary, body
    )


def code(text: str) -> Markup:
    """Returns a text as it is, line by line."""
    return Markup("<pre><code>{}</code></pre>").format(plain(text))


def inline_code(text: str) -> Markup:
    """Returns a word as a program has it."""
    return Markup("<code>{}</code>").format(plain(text))


def link(anchor: str, text: str, hint: str = "") -> Markup:
    """Returns a link within the page."""
    return Markup('<a href="#{}" title="{}">{}</a>').format(anchor, hint, text)


def badge(text: str, tone: str) -> Markup:
    """Returns a short word in a frame: tone is good, bad or soft."""
    return Markup('<span class="badge {}">{}</span>').format(tone, text)


def link_badge(anchor: str, text: str, tone: str) -> Markup:
    """Returns a badge that leads to a section."""
    return Markup('<a href="#{}">{}</a>').format(anchor, badge(text, tone))


def merge_words(parts: Iterable[Markup]) -> Markup:
    """Returns words one after another."""
    return Markup(", ").join(parts)


def merge(parts: Iterable[Markup | str]) -> Markup:
    """Returns pieces one after another."""
    return Markup("\n").join(part for part in parts if part)
