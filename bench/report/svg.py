"""A matplotlib figure as inline SVG: the same bytes each time, words as text, colours that follow the page."""

from __future__ import annotations

import io
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET  # the only input is matplotlib's own output

import matplotlib as mpl
import seaborn as sns
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

INK, FAINT, PAPER = "#010203", "#040506", "#070809"
"""Stand-ins for text, grid and background: the page's style sheet gives them their colours, light or dark."""

COLOURS: tuple[str, ...] = tuple(sns.color_palette("colorblind").as_hex()[i] for i in (0, 1, 2, 4, 3, 9, 7, 5))
"""Colours of series, without the two of the palette that are too pale on white."""

LIGHTER = ("#4fb0e8", "#f0ad3d", "#35c79a", "#e0a0da", "#f58a4b", "#8fd0f5", "#b5b5b5", "#deb98e")
"""The same for a dark page."""

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "softmoe-bench",
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.linewidth": 0.6,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "hatch.linewidth": 0.8,
    "hatch.color": PAPER,
    "lines.linewidth": 1.6,
    "text.parse_math": False,
}


PLACES = frozenset(
    {"d", "x", "y", "x1", "x2", "y1", "y2", "points", "transform", "viewBox", "width", "height", "style"}
)
"""Attributes that say where something is, in points; words are left as they are."""

LONG = re.compile(r"(\d+\.\d{2})\d+")
"""A number with more digits than anybody could see."""


@contextmanager
def drawing() -> Iterator[None]:
    """Sets seaborn's style for what is drawn inside, and nothing beyond."""
    style = {**sns.plotting_context("paper"), **sns.axes_style("whitegrid"), **_STYLE}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the browser brings its own fonts
        yield


def canvas(width: float, height: float) -> Figure:
    """Returns an empty figure of a size in CSS pixels."""
    figure = Figure(figsize=(width / 96, height / 96))
    FigureCanvasSVG(figure)
    return figure


@dataclass(frozen=True)
class Spot:
    """A box of a chart, in points from its upper left corner, that tells a text to who points at it."""

    text: str
    left: float
    top: float
    width: float
    height: float


def spot(axes: Axes, text: str, x: tuple[float, float], y: tuple[float, float], margin: float = 0.0) -> Spot:
    """Returns the box between two places of a plot, larger by a margin in points on each side."""
    scale, whole = 72 / axes.figure.dpi, axes.figure.bbox
    corners = axes.transData.transform([(x[0], y[0]), (x[1], y[1])])
    left, right = sorted(min(max(float(at), 0.0), whole.width) * scale for at in corners[:, 0])
    top, bottom = sorted((whole.height - min(max(float(at), 0.0), whole.height)) * scale for at in corners[:, 1])
    return Spot(text, left - margin, top - margin, right - left + 2 * margin, bottom - top + 2 * margin)


def inline(figure: Figure, chart: str, title: str, description: str, spots: Sequence[Spot] = ()) -> Markup:
    """Returns a figure as an `svg` element; `chart` makes its ids unique on the page, the rest is its text in words."""
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ET.fromstring(written.getvalue())  # noqa: S314  (matplotlib wrote it)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    for child in [child for child in root if child.tag == "metadata"]:
        root.remove(child)
    for element in root.iter():
        _to_style(element)
        for name in PLACES & element.attrib.keys():
            element.attrib[name] = LONG.sub(r"\1", element.attrib[name])
    _rename_ids(root, chart)
    width = figure.get_figwidth() * 96
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "class": "chart",
        "style": f"max-width:{width:.0f}px",
        "role": "img",
        "aria-labelledby": f"{chart}-title {chart}-desc",
    }
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        words = ET.Element(tag, {"id": f"{chart}-{tag}"})
        words.text = text
        root.insert(place, words)
    for found in spots:
        box = {"x": found.left, "y": found.top, "width": found.width, "height": found.height}
        told = ET.SubElement(root, "rect", {"class": "spot", **{name: f"{at:.1f}" for name, at in box.items()}})
        ET.SubElement(told, "title").text = found.text
    return Markup(_themed(ET.tostring(root, encoding="unicode")))  # noqa: S704  (escaped by ElementTree)


def _to_style(element: ET.Element) -> None:
    """Moves colours from attributes, in which a page's variables mean nothing, into the style."""
    colours = {name: element.attrib.pop(name) for name in ("fill", "stroke") if name in element.attrib}
    if colours:
        own = [f"{name}: {value}" for name, value in colours.items()]
        element.attrib["style"] = "; ".join([*own, *filter(None, [element.attrib.get("style", "")])])


def _rename_ids(root: ET.Element, chart: str) -> None:
    """Keeps only the ids that something refers to, and makes them those of one chart."""
    reference = re.compile(r"url\(#([^)]+)\)|^#(.+)$")
    used = {
        match[1] or match[2]
        for element in root.iter()
        for value in element.attrib.values()
        for match in reference.finditer(value)
    }
    names = {name: f"{chart}-{i}" for i, name in enumerate(sorted(used))}
    for element in root.iter():
        if (own := element.attrib.pop("id", None)) in names:
            element.attrib["id"] = names[own]
        for key, value in element.attrib.items():
            element.attrib[key] = reference.sub(
                lambda m: f"url(#{names[m[1]]})" if m[1] else f"#{names[m[2]]}",
                value,
            )


def _themed(text: str) -> str:
    """Returns the SVG with its colours taken from the page."""
    text = text.replace(INK, "currentColor").replace(FAINT, "var(--line)").replace(PAPER, "var(--paper)")
    for i, colour in enumerate(COLOURS):
        text = text.replace(colour, f"var(--series-{i},{colour})")
    return text
