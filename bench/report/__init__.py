"""One self-contained HTML file of one or more runs."""

from bench.report.page import render as render
from bench.report.page import write as write
