"""A chart's SVG as PNG: drawn by matplotlib from what matplotlib wrote, so that nothing else need be installed.

It knows only what matplotlib's SVG consists of: paths, copies of paths, upright or turned words, rectangles to clip by,
and hatches.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET  # the only input is our own output

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matplotlib.axes import Axes

DENSITY = 192
"""Pixels per inch: two for each CSS pixel, for screens that have more than 96."""

SHAPES = {"M": (Path.MOVETO, 1), "L": (Path.LINETO, 1), "Q": (Path.CURVE3, 2), "C": (Path.CURVE4, 3)}
ALIGN = {"start": "left", "middle": "center", "end": "right"}
HIDDEN = {"defs", "title", "desc", "style", "clipPath", "pattern", "metadata"}

_HREF = "{http://www.w3.org/1999/xlink}href"
_TOKEN = re.compile(r"[A-Za-z]|-?[\d.]+(?:e-?\d+)?")


@dataclass
class _Paper:
    """What is drawn on, and what is defined; `order` counts what was drawn, so that later things lie above."""

    axes: Axes
    named: Mapping[str, ET.Element]
    order: int = 0

    def next(self) -> int:
        """Returns the place of the next thing from below."""
        self.order += 1
        return self.order


@dataclass(frozen=True)
class _Context:
    """What an element has from those around it: style, shift, and the path that it is cut off by."""

    style: Mapping[str, str] = field(default_factory=dict)
    shift: tuple[float, float] = (0.0, 0.0)
    clip: Path | None = None


def png(picture: str) -> bytes:
    """Returns a picture of `bench.report.assets` as PNG, on white; the same bytes for the same picture."""
    root = ET.fromstring(picture)  # noqa: S314  (we wrote it)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    left, top, width, height = (float(number) for number in root.attrib["viewBox"].split())
    figure = Figure(figsize=(width / 72, height / 72), dpi=DENSITY, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(left, left + width), ylim=(top + height, top))
    axes.axis("off")
    named = {element.attrib["id"]: element for element in root.iter() if "id" in element.attrib}
    written = io.BytesIO()
    with mpl.rc_context({"text.parse_math": False, "font.family": ["DejaVu Sans"]}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        _draw(_Paper(axes, named), root, _Context())
        figure.savefig(written, format="png", dpi=DENSITY, metadata={"Software": None})
    return written.getvalue()


def _draw(paper: _Paper, element: ET.Element, around: _Context) -> None:
    """Draws an element and what is in it."""
    if element.tag in HIDDEN:
        return
    context = _inside(paper, element, around)
    if element.tag == "path":
        _fill_and_stroke(paper, parse_path(element.attrib.get("d", "")), context)
    elif element.tag == "rect":
        _fill_and_stroke(paper, _rectangle(element), context)
    elif element.tag == "use":
        x, y = (float(element.attrib.get(name, 0)) for name in "xy")
        target = paper.named.get(element.attrib.get(_HREF, "").removeprefix("#"))
        if target is not None:
            _draw(paper, target, replace(context, shift=(context.shift[0] + x, context.shift[1] + y)))
    elif element.tag == "text":
        _write(paper, element, context)
    for child in element:
        _draw(paper, child, context)


def _inside(paper: _Paper, element: ET.Element, around: _Context) -> _Context:
    """Returns what holds within an element."""
    own = dict(part.split(":", 1) for part in element.attrib.get("style", "").split(";") if ":" in part)
    style = {**around.style, **{name.strip(): value.strip() for name, value in own.items()}}
    clip = paper.named.get(_reference(element.attrib.get("clip-path", "")))
    return replace(around, style=style, clip=around.clip if clip is None else _rectangle(clip[0]))


def _reference(value: str) -> str:
    """Returns the id that `url(#id)` names, nothing where it is none."""
    return value.removeprefix("url(#").removesuffix(")") if value.startswith("url(#") else ""


def parse_path(text: str) -> Path:
    """Returns the path of a `d`: absolute moves, lines and curves, which is all that matplotlib writes."""
    points: list[tuple[float, float]] = []
    codes: list[int] = []
    for letter, numbers in _commands(text):
        if letter in "zZ":
            points.append(points[0] if points else (0.0, 0.0))
            codes.append(int(Path.CLOSEPOLY))
            continue
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        points += pairs
        codes += [int(SHAPES[letter][0])] * len(pairs)
    return Path(points, codes) if points else Path([(0.0, 0.0)])


def _commands(text: str) -> Iterator[tuple[str, list[float]]]:
    """Yields each command with its numbers."""
    letter, numbers = "", list[float]()
    for token in _TOKEN.findall(text):
        if token.isalpha():
            if letter:
                yield letter, numbers
            letter, numbers = token, []
        else:
            numbers.append(float(token))
    if letter:
        yield letter, numbers


def _rectangle(element: ET.Element) -> Path:
    """Returns a rectangle as a path."""
    x, y, width, height = (float(element.attrib.get(name, 0)) for name in ("x", "y", "width", "height"))
    return Affine2D().scale(width, height).translate(x, y).transform_path(Path.unit_rectangle())


def _fill_and_stroke(paper: _Paper, path: Path, context: _Context) -> None:
    """Draws a path, its hatch if it has one."""
    placed = Affine2D().translate(*context.shift).transform_path(path)
    pattern = paper.named.get(_reference(context.style.get("fill", "")))
    if pattern is None:
        _patch(paper, placed, context.style, context.clip)
        return
    clip = placed if context.clip is None else _common(placed, context.clip)
    for part in pattern:
        tiled = _rectangle(part) if part.tag == "rect" else parse_path(part.attrib["d"])
        style = _inside(paper, part, _Context()).style
        for x, y in _tiles(pattern, placed):
            _patch(paper, Affine2D().translate(x, y).transform_path(tiled), style, clip)
    _patch(paper, placed, {**context.style, "fill": "none"}, context.clip)


def _common(path: Path, clip: Path) -> Path:
    """Returns the rectangle that two have in common; matplotlib hatches nothing but bars."""
    a, b = path.get_extents(), clip.get_extents()
    low, high = (max(a.x0, b.x0), max(a.y0, b.y0)), (min(a.x1, b.x1), min(a.y1, b.y1))
    size = (max(0.0, high[0] - low[0]), max(0.0, high[1] - low[1]))
    return Affine2D().scale(*size).translate(*low).transform_path(Path.unit_rectangle())


def _tiles(pattern: ET.Element, path: Path) -> Iterator[tuple[float, float]]:
    """Yields where the tiles of a pattern lie that touch a path."""
    width, height = float(pattern.attrib["width"]), float(pattern.attrib["height"])
    box = path.get_extents()
    for i in range(math.floor(box.x0 / width), math.ceil(box.x1 / width)):
        for j in range(math.floor(box.y0 / height), math.ceil(box.y1 / height)):
            yield i * width, j * height


def _patch(paper: _Paper, path: Path, style: Mapping[str, str], clip: Path | None) -> None:
    """Draws one path in one style."""
    stroke, width = style.get("stroke", "none"), float(style.get("stroke-width", 1))
    opacity = float(style.get("opacity", 1))
    patch = PathPatch(
        path,
        facecolor=_colour(style.get("fill", "#000000"), opacity * float(style.get("fill-opacity", 1))),
        edgecolor=_colour(stroke, opacity * float(style.get("stroke-opacity", 1))),
        linewidth=0 if stroke == "none" else width,
        linestyle=_dashes(style, width),
        capstyle={"square": "projecting"}.get(cap := style.get("stroke-linecap", "butt"), cap),
        joinstyle=style.get("stroke-linejoin", "round"),
        zorder=paper.next(),
    )
    paper.axes.add_artist(patch)
    if clip is None:
        patch.set_clip_on(False)
    else:
        patch.set_clip_path(clip, paper.axes.transData)


def _colour(value: str, opacity: float) -> Any:  # noqa: ANN401  (what matplotlib takes for a colour)
    """Returns a colour as matplotlib takes it."""
    return "none" if value == "none" else (value, opacity)


def _dashes(style: Mapping[str, str], width: float) -> Any:  # noqa: ANN401  (what matplotlib takes for a line)
    """Returns the dashes of a line in multiples of its width."""
    lengths = [float(number) for number in re.findall(r"[\d.]+", style.get("stroke-dasharray", ""))]
    if not lengths or not width:
        return "solid"
    return float(style.get("stroke-dashoffset", 0)) / width, [length / width for length in lengths]


def _write(paper: _Paper, element: ET.Element, context: _Context) -> None:
    """Writes words at their place."""
    style = context.style
    turned = re.match(r"rotate\((-?[\d.]+)", element.attrib.get("transform", ""))
    paper.axes.text(
        float(element.attrib["x"]) + context.shift[0],
        float(element.attrib["y"]) + context.shift[1],
        "".join(element.itertext()),
        color=style.get("fill", "#000000"),
        alpha=float(style.get("opacity", 1)),
        fontsize=float(style["font-size"].removesuffix("px")),
        fontweight=int(style.get("font-weight", 400)),
        ha=ALIGN[style.get("text-anchor", "start")],
        va="baseline",
        rotation=-float(turned[1]) if turned else 0.0,
        rotation_mode="anchor",
        zorder=paper.next(),
    )
