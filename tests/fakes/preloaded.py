"""Everything that a pytest session within a test's process may import: such a session forgets what it imported first.

Compiled modules cannot be imported a second time, and classes of ours would be there twice.
"""

import numpy.fft
import rich.table
import scipy.special
import scipy.stats
import sqlalchemy.dialects.sqlite
import torch

from bench import compare, executors, floors, formats
from bench.cli import terminal
from bench.pytest_plugin import fixture, here, marker, recorder

__all__ = [
    "compare",
    "executors",
    "fixture",
    "floors",
    "formats",
    "here",
    "marker",
    "numpy",
    "recorder",
    "rich",
    "scipy",
    "sqlalchemy",
    "terminal",
    "torch",
]
