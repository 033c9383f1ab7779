"""Whatever a layer is called: every format stays what it is."""

import re
from xml.etree import ElementTree as ET

from compared import case, compared
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench.cli import terminal
from bench.formats import TABLE, Context
from bench.formats.markdown import code, prose
from bench.verdicts import Verdict

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
TEXTS = st.text() | st.text(alphabet="`|\\<>*_[]()!@#:/\n\r a&;~$")


@given(TEXTS)
def test_a_code_span_is_one_code_span(text: str) -> None:
    (inline,) = READER.parse(f"- {code(text)}")[2:-2][1:-1]
    assert [child.type for child in inline.children or ()] == ["code_inline"]


@given(TEXTS)
def test_words_are_only_words(text: str) -> None:
    line = " ".join(text.split())
    found = [child.type for token in READER.parse(f"Said: {prose(line)}") for child in token.children or ()]
    assert set(found) <= {"text"}


@given(TEXTS)
def test_every_format_takes_every_name(text: str) -> None:
    row = case(text, Verdict.SLOWER, 1.5, layer=text, reason=text)
    found = compared([row, case("fine", Verdict.SAME, 1.0)], base=text, candidate=text, method=text, remarks=(text,))
    answers = {form: render(found, Context(report=text, command=text)) for form, render in TABLE.items()}
    assert len(list(ET.fromstring(answers["junit"].encode()).iter("testcase"))) == 2  # noqa: S314  (our own text)
    lines = answers["github"].removesuffix("\n").split("\n")
    assert all(re.fullmatch(r"::(error|notice) title=[^:,\r\n]*::[^\r\n]*", line) for line in lines)
    assert len([token for token in READER.parse(answers["markdown"]) if token.type == "table_open"]) == 2
    assert "fine" in terminal.comparison(found, Context())
