"""Charts as files: the same as on the page, in colours of their own, and readable without it."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.report import assets, render

if TYPE_CHECKING:
    from pathlib import Path
    from types import SimpleNamespace

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def pictures(quick_page: str) -> list[assets.Picture]:
    return assets.pictures(quick_page)


def test_every_chart_of_the_page_is_named_by_section_and_chart(quick_page: str, pictures: list[assets.Picture]) -> None:
    assert len(pictures) == quick_page.count("<svg")
    names = [picture.name for picture in pictures]
    assert len(set(names)) == len(names)
    assert names[:3] == ["summary-latency-0", "summary-latency-1", "pareto-0-parameters"]
    assert {"memory-0", "flops-rate-0", "routing-0", "accuracy-error-0"} <= set(names)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in names)
    assert pictures[0].title == "Latency, batch size 1"


def test_a_picture_stands_alone(pictures: list[assets.Picture]) -> None:
    for picture in pictures:
        assert "var(" not in picture.svg
        assert "currentColor" not in picture.svg
        root = ET.fromstring(picture.svg)  # noqa: S314  (we wrote it)
        assert root.tag == f"{SVG}svg"
        assert float(root.attrib["width"]) > 500
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        paper = root.find(f"{SVG}rect")
        assert (paper.attrib["width"], paper.attrib["style"]) == (f"{width:g}", "fill: #ffffff")
        assert height > 50
        ids = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
        wanted = {element.attrib["{http://www.w3.org/1999/xlink}href"] for element in root.iter(f"{SVG}use")}
        wanted |= {f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", picture.svg)}
        assert wanted <= {f"#{name}" for name in ids}
        assert root.find(f"{SVG}desc").text
        assert "#1b1f24" in picture.svg, "dark words on white"


def test_a_picture_in_pixels_shows_what_it_says(pictures: list[assets.Picture]) -> None:
    picture = next(picture for picture in pictures if picture.name == "memory-0")
    data = assets.png(picture.svg)
    assert data == assets.png(picture.svg), "same picture, same bytes"
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = (int(number) for number in re.search(r'width="(\d+)" height="(\d+)"', picture.svg).groups())
    assert image.size == pytest.approx((2 * width, 2 * height), abs=2)
    shown = np.asarray(image)
    assert tuple(shown[0, 0]) == (255, 255, 255)
    counts = {
        colour: int((np.abs(shown.astype(int) - np.array(colour)).max(axis=2) < 3).sum())
        for colour in ((0x01, 0x73, 0xB2), (0xDE, 0x8F, 0x05), (0x1B, 0x1F, 0x24))
    }
    weights, activations, words = counts.values()
    assert weights > activations > weights / 5, "two thirds are weights, and the activations are hatched with white"
    assert words > 500
    assert not (shown == 0).all(axis=2).any(), "nothing is drawn in black, the colour of what has none"


def test_words_that_are_markup_stay_words(make: SimpleNamespace) -> None:
    case = make.case("soft").with_axes(layer="a:<b>&'\"$x^2$")
    found = assets.pictures(render([make.run([case], make.full(case, 0.01, 0.011, 0.012))]))
    text = "".join(ET.fromstring(found[0].svg).itertext())  # noqa: S314  (we wrote it)
    assert "a:<b>&'\"$x^2$ · fused" in text
    assert assets.png(found[0].svg).startswith(b"\x89PNG")


def test_files_are_whole_and_others_stay(make: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    case = make.case()
    run = make.run([case], make.timed(case, 0.01, 0.011, 0.012))
    found = assets.write(render([run]), [run], tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"mine.txt", *assets.DATA, *(f"{p.name}.{end}" for p in found for end in ("svg", "png"))}
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert set(rows[rows.metric == "latency"].value) == {0.01, 0.011, 0.012}
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert set(summary.case) == {case.id}
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assets.write(render([run]), [run], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
