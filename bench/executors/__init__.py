"""How a task is carried out: one contract, three executors; to add one, its file and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import InputError, unknown
from bench.executors.base import Executor, Probe
from bench.executors.inline import InlineExecutor
from bench.executors.isolated import IsolatedExecutor

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE: dict[str, Callable[[], Executor]] = {"isolated": IsolatedExecutor, "inline": InlineExecutor}
"""Executors that the command line offers; `replay` needs recorded outcomes and is for programs and tests."""


def make(name: str) -> Executor:
    """Returns a fresh executor by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in TABLE:
        raise InputError(unknown("executor", name, TABLE))
    return TABLE[name]()


__all__ = ["TABLE", "Executor", "Probe", "make"]
