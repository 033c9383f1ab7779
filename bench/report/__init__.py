"""A report of one or more runs: one self-contained HTML file, or a short Markdown text; and an index over many."""

from bench.report.page import render as render
from bench.report.page import write as write
