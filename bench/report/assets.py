"""The charts of a report as files of their own, SVG and PNG, and its data as CSV.

The charts are taken from the page itself, so that both show the same; on the page their colours are those of the
reader's style sheet, here they are those of a light one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET  # the only input is our own output

from matplotlib import get_data_path

from bench import files
from bench.report import blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.results import RunResults

DATA = ("rows.csv", "summary.csv")
"""A row per sample; a row per case and metric with its interval."""

MARGIN = 6.0
"""Points around a chart: on the page, the ends of its axis may reach a little beyond it."""

FONTS = "'DejaVu Sans', Verdana, sans-serif"

_SECTION = re.compile(r'<section id="([\w-]+)"[^>]*>(.*?)</section>', re.DOTALL)
_CHART = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_TITLE = re.compile(r'<title id="([\w-]+)-title">([^<]*)</title>')
_VARIABLE = re.compile(r"var\((--[\w-]+)(?:\s*,\s*([^()]+))?\)")


@dataclass(frozen=True)
class Picture:
    """A chart as a file: the section that it stands in, its name without ending, its title, and its SVG."""

    section: str
    name: str
    title: str
    svg: str


def pictures(page: str) -> list[Picture]:
    """Returns the charts of a page in its order, named by section and chart."""
    found = []
    for section, body in _SECTION.findall(page):
        for chart in _CHART.findall(body):
            titled = _TITLE.search(chart)
            if titled is not None:
                name = titled[1] if titled[1].startswith(section) else f"{section}-{titled[1]}"
                found.append(Picture(section, name, _unescape(titled[2]), standalone(chart)))
    return found


def standalone(chart: str) -> str:
    """Returns a chart of the page as a file that needs no page: its own colours, on white, of its own size."""
    root = ET.fromstring(_coloured(chart, _light()))  # noqa: S314  (we wrote it)
    x, y, width, height = (float(number) for number in root.attrib["viewBox"].split())
    box = {"x": x - MARGIN, "y": y - MARGIN, "width": width + 2 * MARGIN, "height": height + 2 * MARGIN}
    root.attrib = {
        "xmlns": "http://www.w3.org/2000/svg",
        "xmlns:xlink": "http://www.w3.org/1999/xlink",
        "width": f"{box['width'] / 72 * 96:.0f}",
        "height": f"{box['height'] / 72 * 96:.0f}",
        "viewBox": " ".join(f"{number:g}" for number in box.values()),
        "role": "img",
        "aria-labelledby": root.attrib.get("aria-labelledby", ""),
    }
    paper = ET.Element("rect", {**{name: f"{number:g}" for name, number in box.items()}, "style": "fill: #ffffff"})
    root.insert(sum(child.tag in {"title", "desc"} for child in root), paper)
    for element in root.iter():
        if element.attrib.get("class") == "spot":  # what a page makes invisible tells its figure here, too
            element.attrib["style"] = "fill: none; pointer-events: all"
        if "href" in element.attrib:
            element.attrib["xlink:href"] = element.attrib.pop("href")  # older programs know no other
        if "style" in element.attrib:
            element.attrib["style"] = element.attrib["style"].replace("'DejaVu Sans'", FONTS)
    return ET.tostring(root, encoding="unicode") + "\n"


def write(page: str, runs: Sequence[RunResults], folder: Path) -> list[Picture]:
    """Writes every chart of a page as SVG and PNG and the data of its runs as CSV; returns the charts.

    Files of other names in the folder stay as they are.
    """
    from bench import table  # noqa: PLC0415  (pandas, for this alone)

    found = pictures(page)
    for picture in found:
        files.write(folder / f"{picture.name}.svg", picture.svg)
        files.write(folder / f"{picture.name}.png", png(picture.svg))
    for name, frame in zip(DATA, (table.tidy(runs), table.summary(runs)), strict=True):
        files.write(folder / name, frame.to_csv(index=False, lineterminator="\n"))
    return found


def png(picture: str) -> bytes:
    """Returns a picture as PNG, two pixels for each CSS pixel, for screens that have more than 96 an inch."""
    import resvg_py  # noqa: PLC0415  (for this alone)

    return bytes(resvg_py.svg_to_bytes(svg_string=picture, zoom=2, font_dirs=[get_data_path() + "/fonts/ttf"]))


def _coloured(chart: str, light: Mapping[str, str]) -> str:
    """Returns a chart with its colours in place of the page's variables."""
    told = chart.replace("currentColor", light["--ink"])
    return _VARIABLE.sub(lambda found: found[2] or light[found[1]], told)


def _light() -> dict[str, str]:
    """Returns the variables of the page's style sheet as a light page has them."""
    style = str(blocks.fill("style.css", lighter=""))
    return {name: value.strip() for name, value in reversed(re.findall(r"(--[\w-]+):\s*(#[0-9a-fA-F]+)", style))}


def _unescape(text: str) -> str:
    """Returns the words of a piece of XML."""
    return "".join(ET.fromstring(f"<t>{text}</t>").itertext())  # noqa: S314  (we wrote it)
