"""The report as a short Markdown text: what the page says first, a table of all cases, and how to do it again.

Its sentences are those of the page, read from it, so that neither can say what the other does not. Names come from
whoever wrote the layer or the branch; what escapes them is that of `bench.formats.markdown`.
"""

from __future__ import annotations

import re
import shlex
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import quote

from bench import units
from bench.formats.markdown import cell, code, prose
from bench.formats.words import one_line
from bench.records import Status
from bench.report import naming, view

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.report.assets import Picture
    from bench.report.view import Entry
    from bench.results import RunResults

FIRST = ("summary", "history", "comparison", "devices")
LAST = ("failures", "caveats", "environment", "reproduce")
"""Sections of the page that are told, before and after the table of all cases; the others are for its charts."""

LONGEST = 2000
"""Characters of a paragraph."""

_SILENT = {"script", "style", "svg", "button", "input", "select", "label", "template", "noscript", "figcaption"}
_WORDS = {"p", "h1", "h2", "h3", "h4", "li", "th", "td", "pre", "dt", "dd", "caption", "summary"}
_STARTS = re.compile(r"^(#{1,6}(?=\s)|[-+=](?=[\s=-])|\d+(?=[.)]\s))")


def render(page: str, runs: Sequence[RunResults], pictures: Sequence[Picture] = (), folder: str = "") -> str:
    """Returns the report of a page in Markdown; with pictures, links to their files in the folder."""
    told = _Sections(pictures, folder)
    told.feed(page)
    told.close()
    titles = {name: _heading(title) for name, title in told.titles.items()}
    first = told.blocks.get("summary", [])
    parts = [f"# {titles.get('summary', '')}", *first]
    for name in FIRST[1:]:
        if name in told.blocks:
            parts += [f"## {titles[name]}", *told.blocks[name]]
    parts += ["## All cases", *_cases(runs)]
    parts += _charts([picture for picture in pictures if picture.section not in FIRST], titles, folder)
    for name in LAST:
        if name in told.blocks:
            parts += [f"## {titles[name]}", *told.blocks[name]]
    parts.append(f"Every section with its charts: {code(_whole(runs))}")
    return "\n\n".join(filter(None, parts)) + "\n"


def _whole(runs: Sequence[RunResults]) -> str:
    """Returns the command that makes the page."""
    return shlex.join(["softmoe-bench", "report", *(found.run.id for found in runs)])


def _heading(title: str) -> str:
    """Returns a title for a line of its own."""
    return prose(one_line(title, 200)) or "Report"


def _line(text: str) -> str:
    """Returns words that may begin a line: nothing in them begins a list or a heading."""
    escaped = prose(one_line(text, LONGEST))
    return _STARTS.sub(lambda found: "".join(f"&#{ord(c)};" for c in found[0]), escaped)


def _image(picture: Picture, folder: str) -> str:
    """Returns a chart as an image that leads to its SVG."""
    where = quote(f"{folder}/{picture.name}" if folder else picture.name)
    title = prose(one_line(picture.title, 120)) or picture.name
    return f"[![{title}]({where}.png)]({where}.svg)"


def _charts(pictures: Sequence[Picture], titles: Mapping[str, str], folder: str) -> list[str]:
    """Returns links to the charts of the sections that are not told, a line for each section."""
    by_section: dict[str, list[str]] = {}
    for picture in pictures:
        where = quote(f"{folder}/{picture.name}.svg" if folder else f"{picture.name}.svg")
        by_section.setdefault(picture.section, []).append(f"[{prose(one_line(picture.title, 120))}]({where})")
    lines = [f"- {titles.get(name, name)}: {' · '.join(links)}" for name, links in by_section.items()]
    return ["## Charts", "\n".join(lines)] if lines else []


def _cases(runs: Sequence[RunResults]) -> list[str]:
    """Returns a row for every case that was measured or failed, and in words how many were not."""
    entries = view.of(runs).entries
    shown = [entry for entry in entries if entry.result.status not in (None, Status.SKIPPED)]
    parts = []
    if shown:
        head = ["| case | latency | 95 % interval | throughput | peak memory | status |"]
        head.append("| :-- | --: | --: | --: | --: | :-- |")
        parts.append("\n".join([*head, *map(_row, shown)]))
        parts.append("– is unknown: not measured, or not defined for this case. It never stands for zero.")
    for status, words in ((None, "not measured"), (Status.SKIPPED, "skipped")):
        count = sum(entry.result.status is status for entry in entries)
        if count:
            parts.append(f"{naming.count(count, 'case')} of {len(entries)} {words}.")
    return parts or ["The run has no case."]


def _row(entry: Entry) -> str:
    """Returns a case as a row."""
    latency = entry.figure("latency")
    status = naming.STATUSES[entry.result.status]
    flags = len(entry.result.flags)
    cells = (
        naming.value(latency),
        naming.interval(latency.interval, "s") if latency else units.UNKNOWN,
        naming.value(entry.figure("throughput")),
        naming.value(entry.figure("peak_memory")),
        f"{status}, {naming.count(flags, 'caveat')}" if flags else status,
    )
    return f"| {cell(code(one_line(entry.full, 200)))} | {' | '.join(map(prose, cells))} |"


class _Sections(HTMLParser):
    """What the sections of a page say: a title and Markdown blocks for each."""

    def __init__(self, pictures: Sequence[Picture], folder: str) -> None:
        super().__init__(convert_charrefs=True)
        self.titles: dict[str, str] = {}
        self.blocks: dict[str, list[str]] = {}
        self._images = {picture.name: _image(picture, folder) for picture in pictures}
        self._section = ""
        self._silent = 0
        self._folded = 0
        self._kind = ""
        self._of_chart = False
        self._text: list[str] = []
        self._items: list[str] | None = None
        self._rows: list[list[str]] | None = None
        self._numbers: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens what has words of its own."""
        known = dict(attrs)
        if tag == "section":
            self._section = known.get("id") or ""
            self.blocks[self._section] = []
        if tag in _SILENT:
            self._silent += 1
        if tag == "svg":
            self._picture(known.get("aria-labelledby") or "")
        if tag in {"ul", "dl", "p"}:
            self._kind = known.get("class") or ""
        if tag in {"h3", "h4", "ul", "dl", "table"} or (tag == "p" and self._kind != "soft"):
            self._of_chart = False
        if tag in _WORDS:
            self._text = []
        if tag == "span" and "badge" in (known.get("class") or "").split() and "".join(self._text).strip():
            self._text = ["".join(self._text).rstrip(), ", "]
        self._open(tag, known)

    def _open(self, tag: str, known: Mapping[str, str | None]) -> None:
        """Opens what is made of several pieces."""
        if tag == "details":
            self._folded += 1
        elif tag in {"ul", "dl"}:
            self._items = []
        elif tag == "table":
            self._rows, self._numbers = [], []
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag == "th" and self._rows is not None and len(self._rows) == 1:
            self._numbers.append("n" in (known.get("class") or "").split())

    def handle_data(self, data: str) -> None:
        """Keeps words."""
        if not self._silent:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Closes what has words of its own."""
        if tag in _SILENT:
            self._silent -= 1
        text = "".join(self._text)
        if tag == "section":
            self._section = ""
        elif tag in {"h1", "h2"}:
            self.titles[self._section] = text
        elif tag == "details":
            self._folded -= 1
        elif not self._silent and (not self._folded or (tag == "pre" and self._section == "reproduce")):
            self._close(tag, text)

    def _close(self, tag: str, text: str) -> None:
        """Adds what a closed element comes to."""
        if tag == "h3":
            self._add(f"### {_heading(text)}")
        elif tag == "h4":
            self._add(f"**{_heading(text)}**")
        elif tag == "p" and not self._of_chart:
            self._add(_line(text))
        elif tag in {"li", "dt"} and self._items is not None:
            self._items.append(_line(text))
        elif tag == "dd" and self._items:
            self._items[-1] += f": {_line(text)}"
        elif tag in {"ul", "dl"} and self._items is not None:
            line = self._kind == "meta"
            self._add(" · ".join(self._items) if line else "\n".join(f"- {item}" for item in self._items))
            self._items = None
        elif tag in {"th", "td"} and self._rows:
            self._rows[-1].append(prose(one_line(text)))
        elif tag == "table" and self._rows is not None:
            self._add(_table(self._rows, self._numbers))
            self._rows = None
        elif tag == "pre":
            self._add(_fenced(text))

    def _add(self, block: str) -> None:
        """Adds a block to the section."""
        if block and self._section:
            self.blocks[self._section].append(block)

    def _picture(self, labels: str) -> None:
        """Adds the image of a chart; where it is in no file, what is said of it below is left out too."""
        self._of_chart = True
        chart = labels.partition(" ")[0].removesuffix("-title")
        for name in (chart, f"{self._section}-{chart}"):
            if name in self._images:
                self._add(self._images[name])
                self._of_chart = False


def _table(rows: Sequence[Sequence[str]], numbers: Sequence[bool]) -> str:
    """Returns a table of which the first row is the head; columns of numbers are aligned to the right."""
    head, *body = rows
    lines = [head, ["--:" if number else ":--" for number in numbers], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fenced(text: str) -> str:
    """Returns a text as it is, within a fence that it cannot close."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}\n{naming.plain(text).rstrip()}\n{fence}"
